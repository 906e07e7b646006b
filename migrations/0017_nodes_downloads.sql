-- Where a node's own process hands out what lies on its local disks; NULL: nobody there has said.
ALTER TABLE workers ADD COLUMN downloads_url text;
