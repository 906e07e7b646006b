const serverId = 'd3aac109';
const backupId = 'c3948f1a-67b2-4d89-8c45-a1b2c3d4e5f6';

const response = await fetch(`https://your-panel.com/api/client/servers/${serverId}/backups/${backupId}`, {
    method: 'DELETE',
    headers: {
        'Authorization': 'Bearer ptlc_YOUR_API_KEY',
        'Accept': 'Application/vnd.pterodactyl.v1+json',
        'Content-Type': 'application/json'
    }
});

if (response.status === 204) {
    console.log('Backup successfully deleted');
} else {
    console.error('Failed to delete backup:', response.status);
}
