import requests

server_id = 'd3aac109'
backup_id = 'c3948f1a-67b2-4d89-8c45-a1b2c3d4e5f6'
url = f'https://your-panel.com/api/client/servers/{server_id}/backups/{backup_id}'

headers = {
    'Authorization': 'Bearer ptlc_YOUR_API_KEY',
    'Accept': 'Application/vnd.pterodactyl.v1+json',
    'Content-Type': 'application/json'
}

response = requests.delete(url, headers=headers)

if response.status_code == 204:
    print("Backup successfully deleted")
else:
    print(f"Failed to delete backup: {response.status_code}")
    if response.content:
        print(f"Error: {response.json()}")
