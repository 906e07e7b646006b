const serverId = 'd3aac109';

const backupData = {
    name: 'Pre-maintenance backup',
    ignored: '*.log\ncache/*\ntemp/*\n*.tmp',
    is_locked: true
};

const response = await fetch(`https://your-panel.com/api/client/servers/${serverId}/backups`, {
    method: 'POST',
    headers: {
        'Authorization': 'Bearer ptlc_YOUR_API_KEY',
        'Accept': 'Application/vnd.pterodactyl.v1+json',
        'Content-Type': 'application/json'
    },
    body: JSON.stringify(backupData)
});

const backup = await response.json();
console.log('Backup created:', backup.attributes.uuid);
console.log('Backup name:', backup.attributes.name);
console.log('Status: Initiated - check progress with backup UUID');
