import requests

server_id = 'd3aac109'
backup_id = 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0'
url = f'https://your-panel.com/api/client/servers/{server_id}/backups/{backup_id}/restore'

headers = {
    'Authorization': 'Bearer ptlc_YOUR_API_KEY',
    'Accept': 'Application/vnd.pterodactyl.v1+json',
    'Content-Type': 'application/json'
}

restore_data = {
    'truncate': True  # Delete existing files before restore
}

response = requests.post(url, headers=headers, json=restore_data)

if response.status_code == 202:
    print("Backup restoration initiated")
    print("Server will be restored from backup - this may take several minutes")
else:
    print(f"Failed to initiate restore: {response.status_code}")
    if response.content:
        print(f"Error: {response.json()}")
