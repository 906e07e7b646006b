<?php
$serverId = 'd3aac109';
$backupId = 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0';

$client = new GuzzleHttp\Client();
$headers = [
    'Authorization' => 'Bearer ptlc_YOUR_API_KEY',
    'Accept' => 'Application/vnd.pterodactyl.v1+json',
    'Content-Type' => 'application/json'
];

function lockBackup($client, $serverId, $backupId, $headers) {
    $url = "https://your-panel.com/api/client/servers/{$serverId}/backups/{$backupId}/lock";
    
    try {
        $response = $client->post($url, ['headers' => $headers]);
        
        if ($response->getStatusCode() === 204) {
            echo "Backup locked successfully\n";
        }
    } catch (GuzzleHttp\Exception\ClientException $e) {
        echo "Failed to lock backup: " . $e->getCode() . "\n";
        echo "Error: " . $e->getResponse()->getBody() . "\n";
    }
}

function unlockBackup($client, $serverId, $backupId, $headers) {
    $url = "https://your-panel.com/api/client/servers/{$serverId}/backups/{$backupId}/unlock";
    
    try {
        $response = $client->post($url, ['headers' => $headers]);
        
        if ($response->getStatusCode() === 204) {
            echo "Backup unlocked successfully\n";
        }
    } catch (GuzzleHttp\Exception\ClientException $e) {
        echo "Failed to unlock backup: " . $e->getCode() . "\n";
        echo "Error: " . $e->getResponse()->getBody() . "\n";
    }
}

// Usage
lockBackup($client, $serverId, $backupId, $headers);    // Lock the backup
unlockBackup($client, $serverId, $backupId, $headers);  // Unlock the backup
?>
