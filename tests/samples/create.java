import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.URI;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.HashMap;
import java.util.Map;

public class BackupManager {
    private static final String API_KEY = "ptlc_YOUR_API_KEY";
    private static final String BASE_URL = "https://your-panel.com/api/client";
    
    public void createBackup(String serverId) throws Exception {
        String url = BASE_URL + "/servers/" + serverId + "/backups";
        
        Map<String, Object> backupData = new HashMap<>();
        backupData.put("name", "Pre-maintenance backup");
        backupData.put("ignored", "*.log\ncache/*\ntemp/*\n*.tmp");
        backupData.put("is_locked", true);
        
        ObjectMapper mapper = new ObjectMapper();
        String jsonData = mapper.writeValueAsString(backupData);
        
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder()
            .uri(URI.create(url))
            .header("Authorization", "Bearer " + API_KEY)
            .header("Accept", "Application/vnd.pterodactyl.v1+json")
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(jsonData))
            .build();
        
        HttpResponse<String> response = client.send(request, 
            HttpResponse.BodyHandlers.ofString());
        
        JsonNode backup = mapper.readTree(response.body());
        JsonNode attrs = backup.get("attributes");
        
        System.out.println("Backup created: " + attrs.get("uuid").asText());
        System.out.println("Backup name: " + attrs.get("name").asText());
        System.out.println("Locked: " + (attrs.get("is_locked").asBoolean() ? "Yes" : "No"));
        System.out.println("Status: Initiated - backup is now being created");
    }
}
