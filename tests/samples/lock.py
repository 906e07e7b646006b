import requests

server_id = 'd3aac109'
backup_id = 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0'

headers = {
    'Authorization': 'Bearer ptlc_YOUR_API_KEY',
    'Accept': 'Application/vnd.pterodactyl.v1+json',
    'Content-Type': 'application/json'
}

def lock_backup():
    """Lock a backup to prevent deletion"""
    url = f'https://your-panel.com/api/client/servers/{server_id}/backups/{backup_id}/lock'
    response = requests.post(url, headers=headers)
    
    if response.status_code == 204:
        print("Backup locked successfully")
    else:
        print(f"Failed to lock backup: {response.status_code}")
        if response.content:
            print(f"Error: {response.json()}")

def unlock_backup():
    """Unlock a backup to allow deletion"""
    url = f'https://your-panel.com/api/client/servers/{server_id}/backups/{backup_id}/unlock'
    response = requests.post(url, headers=headers)
    
    if response.status_code == 204:
        print("Backup unlocked successfully")
    else:
        print(f"Failed to unlock backup: {response.status_code}")
        if response.content:
            print(f"Error: {response.json()}")

# Usage
lock_backup()    # Lock the backup
unlock_backup()  # Unlock the backup
