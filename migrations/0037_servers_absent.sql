-- The servers that their panel no longer lists, the longest absent first.
CREATE INDEX servers_absent ON servers (node, absent_since, id) WHERE absent_since IS NOT NULL;
