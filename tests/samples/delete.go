package main

import (
    "fmt"
    "net/http"
)

func main() {
    serverId := "d3aac109"
    backupId := "c3948f1a-67b2-4d89-8c45-a1b2c3d4e5f6"
    url := fmt.Sprintf("https://your-panel.com/api/client/servers/%s/backups/%s", serverId, backupId)
    
    client := &http.Client{}
    req, _ := http.NewRequest("DELETE", url, nil)
    req.Header.Add("Authorization", "Bearer ptlc_YOUR_API_KEY")
    req.Header.Add("Accept", "Application/vnd.pterodactyl.v1+json")
    req.Header.Add("Content-Type", "application/json")
    
    resp, err := client.Do(req)
    if err != nil {
        fmt.Printf("Error: %v\n", err)
        return
    }
    defer resp.Body.Close()
    
    if resp.StatusCode == 204 {
        fmt.Println("Backup successfully deleted")
    } else {
        fmt.Printf("Failed to delete backup: %d\n", resp.StatusCode)
    }
}
