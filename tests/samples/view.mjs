const serverId = 'd3aac109';
const backupId = 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0';

const response = await fetch(`https://your-panel.com/api/client/servers/${serverId}/backups/${backupId}`, {
    method: 'GET',
    headers: {
        'Authorization': 'Bearer ptlc_YOUR_API_KEY',
        'Accept': 'Application/vnd.pterodactyl.v1+json',
        'Content-Type': 'application/json'
    }
});

const backup = await response.json();
console.log('Backup details:', backup.attributes);
console.log(`Status: ${backup.attributes.is_successful ? 'Successful' : 'Failed'}`);
console.log(`Size: ${(backup.attributes.bytes / 1024 / 1024).toFixed(2)} MB`);
