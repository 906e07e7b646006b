import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.URI;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.JsonNode;

public class BackupManager {
    private static final String API_KEY = "ptlc_YOUR_API_KEY";
    private static final String BASE_URL = "https://your-panel.com/api/client";
    
    public void listBackups(String serverId) throws Exception {
        String url = BASE_URL + "/servers/" + serverId + "/backups";
        
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
        JsonNode data = mapper.readTree(response.body());
        
        for (JsonNode backup : data.get("data")) {
            JsonNode attrs = backup.get("attributes");
            System.out.println("Backup: " + attrs.get("name").asText());
            System.out.println("Size: " + attrs.get("bytes").asLong() + " bytes");
            System.out.println("Status: " + (attrs.get("is_successful").asBoolean() ? "Successful" : "Failed"));
            System.out.println("---");
        }
    }
}
