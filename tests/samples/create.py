import requests

server_id = 'd3aac109'
url = f'https://your-panel.com/api/client/servers/{server_id}/backups'

headers = {
    'Authorization': 'Bearer ptlc_YOUR_API_KEY',
    'Accept': 'Application/vnd.pterodactyl.v1+json',
    'Content-Type': 'application/json'
}

backup_data = {
    'name': 'Pre-maintenance backup',
    'ignored': '*.log\ncache/*\ntemp/*\n*.tmp',
    'is_locked': True
}

response = requests.post(url, headers=headers, json=backup_data)
backup = response.json()

print(f"Backup created: {backup['attributes']['uuid']}")
print(f"Backup name: {backup['attributes']['name']}")
print(f"Locked: {backup['attributes']['is_locked']}")
print("Status: Initiated - backup is now being created")
