package main

import (
    "encoding/json"
    "fmt"
    "io"
    "net/http"
    "os"
)

func main() {
    serverId := "d3aac109"
    backupId := "a4962fe6-90c8-4b89-ba62-a5d3b06426c0"
    url := fmt.Sprintf("https://your-panel.com/api/client/servers/%s/backups/%s/download", serverId, backupId)
    
    client := &http.Client{}
    req, _ := http.NewRequest("GET", url, nil)
    req.Header.Add("Authorization", "Bearer ptlc_YOUR_API_KEY")
    req.Header.Add("Accept", "Application/vnd.pterodactyl.v1+json")
    req.Header.Add("Content-Type", "application/json")
    
    // Get download URL
    resp, _ := client.Do(req)
    defer resp.Body.Close()
    
    var result map[string]interface{}
    json.NewDecoder(resp.Body).Decode(&result)
    
    downloadUrl := result["attributes"].(map[string]interface{})["url"].(string)
    fmt.Printf("Download URL generated: %s\n", downloadUrl)
    fmt.Println("URL expires in 1 hour")
    
    // Download the backup file
    downloadResp, _ := http.Get(downloadUrl)
    defer downloadResp.Body.Close()
    
    filename := fmt.Sprintf("backup_%s.tar.gz", backupId)
    file, _ := os.Create(filename)
    defer file.Close()
    
    size, _ := io.Copy(file, downloadResp.Body)
    fmt.Printf("Backup downloaded as: %s\n", filename)
    fmt.Printf("File size: %d bytes\n", size)
}
