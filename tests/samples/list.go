package main

import (
    "encoding/json"
    "fmt"
    "net/http"
)

func main() {
    serverId := "d3aac109"
    url := fmt.Sprintf("https://your-panel.com/api/client/servers/%s/backups", serverId)
    
    client := &http.Client{}
    req, _ := http.NewRequest("GET", url, nil)
    req.Header.Add("Authorization", "Bearer ptlc_YOUR_API_KEY")
    req.Header.Add("Accept", "Application/vnd.pterodactyl.v1+json")
    req.Header.Add("Content-Type", "application/json")
    
    resp, _ := client.Do(req)
    defer resp.Body.Close()
    
    var result map[string]interface{}
    json.NewDecoder(resp.Body).Decode(&result)
    
    backups := result["data"].([]interface{})
    for _, backup := range backups {
        attrs := backup.(map[string]interface{})["attributes"].(map[string]interface{})
        fmt.Printf("Backup: %s\n", attrs["name"])
        fmt.Printf("Size: %.0f bytes\n", attrs["bytes"])
        fmt.Printf("Status: %s\n", map[bool]string{true: "Successful", false: "Failed"}[attrs["is_successful"].(bool)])
        fmt.Println("---")
    }
}
