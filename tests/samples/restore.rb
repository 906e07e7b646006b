require 'net/http'
require 'uri'
require 'json'

class BackupManager
  API_KEY = 'ptlc_YOUR_API_KEY'
  BASE_URL = 'https://your-panel.com/api/client'
  
  def self.restore_backup(server_id, backup_id)
    uri = URI("#{BASE_URL}/servers/#{server_id}/backups/#{backup_id}/restore")
    
    restore_data = {
      truncate: true  # Delete existing files before restore
    }
    
    http = Net::HTTP.new(uri.host, uri.port)
    http.use_ssl = true
    
    request = Net::HTTP::Post.new(uri)
    request['Authorization'] = "Bearer #{API_KEY}"
    request['Accept'] = 'Application/vnd.pterodactyl.v1+json'
    request['Content-Type'] = 'application/json'
    request.body = restore_data.to_json
    
    response = http.request(request)
    
    if response.code == '202'
      puts "Backup restoration initiated"
      puts "Server will be restored from backup - this may take several minutes"
    else
      puts "Failed to initiate restore: #{response.code}"
      puts "Error: #{response.body}" unless response.body.empty?
    end
  rescue StandardError => e
    puts "Error restoring backup: #{e.message}"
  end
end

# Usage
BackupManager.restore_backup('d3aac109', 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0')
