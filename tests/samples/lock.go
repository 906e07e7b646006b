package main

import (
    "fmt"
    "net/http"
)

func lockBackup(serverId, backupId string) {
    url := fmt.Sprintf("https://your-panel.com/api/client/servers/%s/backups/%s/lock", serverId, backupId)
    
    client := &http.Client{}
    req, _ := http.NewRequest("POST", url, nil)
    req.Header.Add("Authorization", "Bearer ptlc_YOUR_API_KEY")
    req.Header.Add("Accept", "Application/vnd.pterodactyl.v1+json")
    req.Header.Add("Content-Type", "application/json")
    
    resp, err := client.Do(req)
    if err != nil {
        fmt.Printf("Error locking backup: %v\n", err)
        return
    }
    defer resp.Body.Close()
    
    if resp.StatusCode == 204 {
        fmt.Println("Backup locked successfully")
    } else {
        fmt.Printf("Failed to lock backup: %d\n", resp.StatusCode)
    }
}

func unlockBackup(serverId, backupId string) {
    url := fmt.Sprintf("https://your-panel.com/api/client/servers/%s/backups/%s/unlock", serverId, backupId)
    
    client := &http.Client{}
    req, _ := http.NewRequest("POST", url, nil)
    req.Header.Add("Authorization", "Bearer ptlc_YOUR_API_KEY")
    req.Header.Add("Accept", "Application/vnd.pterodactyl.v1+json")
    req.Header.Add("Content-Type", "application/json")
    
    resp, err := client.Do(req)
    if err != nil {
        fmt.Printf("Error unlocking backup: %v\n", err)
        return
    }
    defer resp.Body.Close()
    
    if resp.StatusCode == 204 {
        fmt.Println("Backup unlocked successfully")
    } else {
        fmt.Printf("Failed to unlock backup: %d\n", resp.StatusCode)
    }
}

func main() {
    serverId := "d3aac109"
    backupId := "a4962fe6-90c8-4b89-ba62-a5d3b06426c0"
    
    lockBackup(serverId, backupId)    // Lock the backup
    unlockBackup(serverId, backupId)  // Unlock the backup
}
