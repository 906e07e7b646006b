import requests

server_id = 'd3aac109'
backup_id = 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0'
url = f'https://your-panel.com/api/client/servers/{server_id}/backups/{backup_id}'

headers = {
    'Authorization': 'Bearer ptlc_YOUR_API_KEY',
    'Accept': 'Application/vnd.pterodactyl.v1+json',
    'Content-Type': 'application/json'
}

response = requests.get(url, headers=headers)
backup = response.json()

print(f"Backup Name: {backup['attributes']['name']}")
print(f"Status: {'Successful' if backup['attributes']['is_successful'] else 'Failed'}")
print(f"Size: {backup['attributes']['bytes'] / 1024 / 1024:.2f} MB")
print(f"Created: {backup['attributes']['created_at']}")
print(f"Completed: {backup['attributes']['completed_at']}")
print(f"Locked: {backup['attributes']['is_locked']}")
