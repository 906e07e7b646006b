package main

import (
    "bytes"
    "encoding/json"
    "fmt"
    "net/http"
)

func main() {
    serverId := "d3aac109"
    backupId := "a4962fe6-90c8-4b89-ba62-a5d3b06426c0"
    url := fmt.Sprintf("https://your-panel.com/api/client/servers/%s/backups/%s/restore", serverId, backupId)
    
    restoreData := map[string]interface{}{
        "truncate": true,  // Delete existing files before restore
    }
    
    jsonData, _ := json.Marshal(restoreData)
    
    client := &http.Client{}
    req, _ := http.NewRequest("POST", url, bytes.NewBuffer(jsonData))
    req.Header.Add("Authorization", "Bearer ptlc_YOUR_API_KEY")
    req.Header.Add("Accept", "Application/vnd.pterodactyl.v1+json")
    req.Header.Add("Content-Type", "application/json")
    
    resp, err := client.Do(req)
    if err != nil {
        fmt.Printf("Error: %v\n", err)
        return
    }
    defer resp.Body.Close()
    
    if resp.StatusCode == 202 {
        fmt.Println("Backup restoration initiated")
        fmt.Println("Server will be restored from backup - this may take several minutes")
    } else {
        fmt.Printf("Failed to initiate restore: %d\n", resp.StatusCode)
    }
}
