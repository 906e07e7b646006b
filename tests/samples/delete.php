<?php
$serverId = 'd3aac109';
$backupId = 'c3948f1a-67b2-4d89-8c45-a1b2c3d4e5f6';
$url = "https://your-panel.com/api/client/servers/{$serverId}/backups/{$backupId}";

$client = new GuzzleHttp\Client();

try {
    $response = $client->delete($url, [
        'headers' => [
            'Authorization' => 'Bearer ptlc_YOUR_API_KEY',
            'Accept' => 'Application/vnd.pterodactyl.v1+json',
            'Content-Type' => 'application/json'
        ]
    ]);
    
    if ($response->getStatusCode() === 204) {
        echo "Backup successfully deleted\n";
    }
} catch (GuzzleHttp\Exception\ClientException $e) {
    echo "Failed to delete backup: " . $e->getCode() . "\n";
    echo "Error: " . $e->getResponse()->getBody() . "\n";
}
?>
