require 'net/http'
require 'uri'
require 'json'

class BackupManager
  API_KEY = 'ptlc_YOUR_API_KEY'
  BASE_URL = 'https://your-panel.com/api/client'
  
  def self.lock_backup(server_id, backup_id)
    uri = URI("#{BASE_URL}/servers/#{server_id}/backups/#{backup_id}/lock")
    
    http = Net::HTTP.new(uri.host, uri.port)
    http.use_ssl = true
    
    request = Net::HTTP::Post.new(uri)
    request['Authorization'] = "Bearer #{API_KEY}"
    request['Accept'] = 'Application/vnd.pterodactyl.v1+json'
    request['Content-Type'] = 'application/json'
    
    response = http.request(request)
    
    if response.code == '204'
      puts "Backup locked successfully"
    else
      puts "Failed to lock backup: #{response.code}"
      puts "Error: #{response.body}" unless response.body.empty?
    end
  rescue StandardError => e
    puts "Error locking backup: #{e.message}"
  end
  
  def self.unlock_backup(server_id, backup_id)
    uri = URI("#{BASE_URL}/servers/#{server_id}/backups/#{backup_id}/unlock")
    
    http = Net::HTTP.new(uri.host, uri.port)
    http.use_ssl = true
    
    request = Net::HTTP::Post.new(uri)
    request['Authorization'] = "Bearer #{API_KEY}"
    request['Accept'] = 'Application/vnd.pterodactyl.v1+json'
    request['Content-Type'] = 'application/json'
    
    response = http.request(request)
    
    if response.code == '204'
      puts "Backup unlocked successfully"
    else
      puts "Failed to unlock backup: #{response.code}"
      puts "Error: #{response.body}" unless response.body.empty?
    end
  rescue StandardError => e
    puts "Error unlocking backup: #{e.message}"
  end
end

# Usage
server_id = 'd3aac109'
backup_id = 'a4962fe6-90c8-4b89-ba62-a5d3b06426c0'

BackupManager.lock_backup(server_id, backup_id)    # Lock the backup
BackupManager.unlock_backup(server_id, backup_id)  # Unlock the backup
