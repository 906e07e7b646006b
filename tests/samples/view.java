import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.URI;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.JsonNode;

public class BackupManager {
    private static final String API_KEY = "ptlc_YOUR_API_KEY";
    private static final String BASE_URL = "https://your-panel.com/api/client";
    
    public void getBackupDetails(String serverId, String backupId) throws Exception {
        String url = BASE_URL + "/servers/" + serverId + "/backups/" + backupId;
        
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder()
            .uri(URI.create(url))
            .header("Authorization", "Bearer " + API_KEY)
            .header("Accept", "Application/vnd.pterodactyl.v1+json")
            .header("Content-Type", "application/json")
            .GET()
            .build();
        
        HttpResponse<String> response = client.send(request, 
            HttpResponse.BodyHandlers.ofString());
        
        ObjectMapper mapper = new ObjectMapper();
        JsonNode backup = mapper.readTree(response.body());
        JsonNode attrs = backup.get("attributes");
        
        System.out.println("Backup Name: " + attrs.get("name").asText());
        System.out.println("Status: " + (attrs.get("is_successful").asBoolean() ? "Successful" : "Failed"));
        System.out.println("Size: " + String.format("%.2f MB", attrs.get("bytes").asDouble() / 1024 / 1024));
        System.out.println("Created: " + attrs.get("created_at").asText());
        System.out.println("Completed: " + attrs.get("completed_at").asText());
        System.out.println("Locked: " + (attrs.get("is_locked").asBoolean() ? "Yes" : "No"));
    }
}
