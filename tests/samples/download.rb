require 'net/http'
require 'uri'
require 'json'

class BackupManager
  API_KEY = 'ptlc_YOUR_API_KEY'
  BASE_URL = 'https://your-panel.com/api/client'
  
  def self.download_backup(server_id, backup_id)
    uri = URI("#{BASE_URL}/servers/#{server_id}/backups/#{backup_id}/download")
    
    http = Net::HTTP.new(uri.host, uri.port)
    http.use_ssl = true
    
    # Get download URL
    request = Net::HTTP::Get.new(uri)
    request['Authorization'] = "Bearer #{API_KEY}"
    request['Accept'] = 'Application/vnd.pterodactyl.v1+json'
    request['Content-Type'] = 'application/json'
    
    response = http.request(request)
    download_data = JSON.parse(response.body)
    download_url = download_data['attributes']['url']
    
    puts "Download URL generated: #{download_url}"
    puts "URL expires in 1 hour"
    
    # Download the backup file
    download_uri = URI(download_url)
    filename = "backup_#{backup_id}.tar.gz"
    
    Net::HTTP.start(download_uri.host, download_uri.port, use_ssl: true) do |http|
      request = Net::HTTP::Get.new(download_uri)
      http.request(request) do |response|
        File.open(filename, 'wb') do |file|
          response.read_body do |chunk|
            file.write(chunk)
          end
        end
      end
    end
    
    puts "Backup downloaded as: #{filename}"
    puts "File size: #{File.size(filename)} bytes"
  end
end

# Usage
BackupManager.download_backup('d3aac109', 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0')
