package main

import (
    "bytes"
    "encoding/json"
    "fmt"
    "net/http"
)

func main() {
    serverId := "d3aac109"
    url := fmt.Sprintf("https://your-panel.com/api/client/servers/%s/backups", serverId)
    
    backupData := map[string]interface{}{
        "name":      "Pre-maintenance backup",
        "ignored":   "*.log\ncache/*\ntemp/*\n*.tmp",
        "is_locked": true,
    }
    
    jsonData, _ := json.Marshal(backupData)
    
    client := &http.Client{}
    req, _ := http.NewRequest("POST", url, bytes.NewBuffer(jsonData))
    req.Header.Add("Authorization", "Bearer ptlc_YOUR_API_KEY")
    req.Header.Add("Accept", "Application/vnd.pterodactyl.v1+json")
    req.Header.Add("Content-Type", "application/json")
    
    resp, _ := client.Do(req)
    defer resp.Body.Close()
    
    var result map[string]interface{}
    json.NewDecoder(resp.Body).Decode(&result)
    
    attrs := result["attributes"].(map[string]interface{})
    fmt.Printf("Backup created: %s\n", attrs["uuid"])
    fmt.Printf("Backup name: %s\n", attrs["name"])
    fmt.Printf("Locked: %s\n", map[bool]string{true: "Yes", false: "No"}[attrs["is_locked"].(bool)])
    fmt.Println("Status: Initiated - backup is now being created")
}
