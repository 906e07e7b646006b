import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.URI;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.HashMap;
import java.util.Map;

public class BackupManager {
    private static final String API_KEY = "ptlc_YOUR_API_KEY";
    private static final String BASE_URL = "https://your-panel.com/api/client";
    
    public void restoreBackup(String serverId, String backupId) throws Exception {
        String url = BASE_URL + "/servers/" + serverId + "/backups/" + backupId + "/restore";
        
        Map<String, Object> restoreData = new HashMap<>();
        restoreData.put("truncate", true);  // Delete existing files before restore
        
        ObjectMapper mapper = new ObjectMapper();
        String jsonData = mapper.writeValueAsString(restoreData);
        
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
        
        if (response.statusCode() == 202) {
            System.out.println("Backup restoration initiated");
            System.out.println("Server will be restored from backup - this may take several minutes");
        } else {
            System.out.println("Failed to initiate restore: " + response.statusCode());
            if (!response.body().isEmpty()) {
                System.out.println("Error: " + response.body());
            }
        }
    }
}
