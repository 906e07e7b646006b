import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.URI;
import java.nio.file.Paths;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.JsonNode;

public class BackupManager {
    private static final String API_KEY = "ptlc_YOUR_API_KEY";
    private static final String BASE_URL = "https://your-panel.com/api/client";
    
    public void downloadBackup(String serverId, String backupId) throws Exception {
        String url = BASE_URL + "/servers/" + serverId + "/backups/" + backupId + "/download";
        
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder()
            .uri(URI.create(url))
            .header("Authorization", "Bearer " + API_KEY)
            .header("Accept", "Application/vnd.pterodactyl.v1+json")
            .header("Content-Type", "application/json")
            .GET()
            .build();
        
        // Get download URL
        HttpResponse<String> response = client.send(request, 
            HttpResponse.BodyHandlers.ofString());
        
        ObjectMapper mapper = new ObjectMapper();
        JsonNode downloadData = mapper.readTree(response.body());
        String downloadUrl = downloadData.get("attributes").get("url").asText();
        
        System.out.println("Download URL generated: " + downloadUrl);
        System.out.println("URL expires in 1 hour");
        
        // Download the backup file
        String filename = "backup_" + backupId + ".tar.gz";
        HttpRequest downloadRequest = HttpRequest.newBuilder()
            .uri(URI.create(downloadUrl))
            .GET()
            .build();
        
        HttpResponse<java.nio.file.Path> downloadResponse = client.send(downloadRequest,
            HttpResponse.BodyHandlers.ofFile(Paths.get(filename)));
        
        System.out.println("Backup downloaded as: " + filename);
        System.out.println("File size: " + java.nio.file.Files.size(downloadResponse.body()) + " bytes");
    }
}
