require 'net/http'
require 'uri'
require 'json'

class BackupManager
  API_KEY = 'ptlc_YOUR_API_KEY'
  BASE_URL = 'https://your-panel.com/api/client'
  
  def self.get_backup_details(server_id, backup_id)
    uri = URI("#{BASE_URL}/servers/#{server_id}/backups/#{backup_id}")
    
    http = Net::HTTP.new(uri.host, uri.port)
    http.use_ssl = true
    
    request = Net::HTTP::Get.new(uri)
    request['Authorization'] = "Bearer #{API_KEY}"
    request['Accept'] = 'Application/vnd.pterodactyl.v1+json'
    request['Content-Type'] = 'application/json'
    
    response = http.request(request)
    backup = JSON.parse(response.body)
    attrs = backup['attributes']
    
    puts "Backup Name: #{attrs['name']}"
    puts "Status: #{attrs['is_successful'] ? 'Successful' : 'Failed'}"
    puts "Size: #{'%.2f' % (attrs['bytes'].to_f / 1024 / 1024)} MB"
    puts "Created: #{attrs['created_at']}"
    puts "Completed: #{attrs['completed_at']}"
    puts "Locked: #{attrs['is_locked'] ? 'Yes' : 'No'}"
  end
end

# Usage
BackupManager.get_backup_details('d3aac109', 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0')
