import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.URI;

public class BackupManager {
    private static final String API_KEY = "ptlc_YOUR_API_KEY";
    private static final String BASE_URL = "https://your-panel.com/api/client";
    
    public void deleteBackup(String serverId, String backupId) throws Exception {
        String url = BASE_URL + "/servers/" + serverId + "/backups/" + backupId;
        
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder()
            .uri(URI.create(url))
            .header("Authorization", "Bearer " + API_KEY)
            .header("Accept", "Application/vnd.pterodactyl.v1+json")
            .header("Content-Type", "application/json")
            .DELETE()
            .build();
        
        HttpResponse<String> response = client.send(request, 
            HttpResponse.BodyHandlers.ofString());
        
        if (response.statusCode() == 204) {
            System.out.println("Backup successfully deleted");
        } else {
            System.out.println("Failed to delete backup: " + response.statusCode());
            if (!response.body().isEmpty()) {
                System.out.println("Error: " + response.body());
            }
        }
    }
}
