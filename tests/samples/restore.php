<?php
$serverId = 'd3aac109';
$backupId = 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0';
$url = "https://your-panel.com/api/client/servers/{$serverId}/backups/{$backupId}/restore";

$restoreData = [
    'truncate' => true  // Delete existing files before restore
];

$client = new GuzzleHttp\Client();

try {
    $response = $client->post($url, [
        'headers' => [
            'Authorization' => 'Bearer ptlc_YOUR_API_KEY',
            'Accept' => 'Application/vnd.pterodactyl.v1+json',
            'Content-Type' => 'application/json'
        ],
        'json' => $restoreData
    ]);
    
    if ($response->getStatusCode() === 202) {
        echo "Backup restoration initiated\n";
        echo "Server will be restored from backup - this may take several minutes\n";
    }
} catch (GuzzleHttp\Exception\ClientException $e) {
    echo "Failed to initiate restore: " . $e->getCode() . "\n";
    echo "Error: " . $e->getResponse()->getBody() . "\n";
}
?>
