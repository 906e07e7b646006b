// Clients written in JavaScript: pterojs, jspteroapi, nodeactyl. See README.md.
const assert = require("node:assert/strict");
const { createHash } = require("node:crypto");
const { URL: url, SERVER: server, FULL_SERVER: full, KEY: key, SPENT_KEY: spent } = process.env;

const sha256Of = async (link) => createHash("sha256").update(Buffer.from(await (await fetch(link)).arrayBuffer())).digest("hex");
const until = async (get, done) => {
  for (let times = 0; times < 300; times++) {
    const seen = await get();
    if (done(seen)) return seen;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error("it never came to its end");
};
const thrown = (call) => call().then(() => assert.fail("it was not refused"), (error) => error);
const wrongKey = key.slice(0, -1) + (key.endsWith("a") ? "b" : "a");

async function pterojs() {
  const { PteroClient } = require("@devnote-dev/pterojs");
  const client = new PteroClient(url, key);
  assert.equal((await client.account.fetch()).email, "owner@example.com");
  const { backups } = await client.servers.fetch(server);
  const { uuid } = await backups.create({ name: "pterojs", ignored: "*.log" });
  const shown = await until(() => backups.fetch(uuid, { force: true }), (one) => one.completedAt);
  assert.equal(shown.successful, true);
  assert.ok((await backups.fetch()).has(uuid));
  assert.equal("sha256:" + (await sha256Of(await backups.getDownloadURL(uuid))), shown.checksum);
  assert.equal((await backups.toggleLock(uuid)).locked, true);
  const locked = await thrown(() => backups.delete(uuid));
  assert.match(`${locked.name} ${locked.message}`, /This backup is locked and cannot be deleted/);
  await backups.toggleLock(uuid);
  // It sends no `truncate`, which a panel requires, too.
  const restore = await thrown(() => backups.restore(uuid));
  assert.match(restore.message, /truncate/);
  await backups.delete(uuid);
  assert.match((await thrown(() => backups.fetch(uuid, { force: true }))).message, /could not be found/);
  const many = (await client.servers.fetch(full)).backups;
  assert.match((await thrown(() => many.create())).message, /reached its backup limit/);
  assert.match((await thrown(() => new PteroClient(url, wrongKey).servers.fetch(server))).message, /credentials/);
  assert.match((await thrown(() => new PteroClient(url, spent).servers.fetch(server))).message, /slow down/);
}

async function jspteroapi() {
  const { Client } = require("@linux123123/jspteroapi");
  const client = new Client(url, key); // checks the key at once, and would end the process
  assert.equal(await client.testAPI(), true);
  const { uuid } = await client.createBackup(server, "jspteroapi", ["*.log"], true);
  const shown = await until(() => client.getBackupInfo(server, uuid), (one) => one.completed_at);
  assert.equal(shown.is_successful, true);
  assert.ok((await client.getAllBackups(server)).some((one) => one.attributes.uuid === uuid));
  assert.equal(await sha256Of(await client.getBackupDownloadLink(server, uuid)), shown.sha256_hash);
  const locked = await thrown(() => client.deleteBackup(server, uuid));
  assert.deepEqual([locked.HTML_STATUS, locked.ERRORS], [400, ["This backup is locked and cannot be deleted."]]);
  assert.equal((await client.toggleLockBackup(server, uuid)).is_locked, false);
  await client.restoreBackup(server, uuid, true);
  await until(() => client.getBackupInfo(server, uuid), (one) => one.restore.status === "completed");
  await client.deleteBackup(server, uuid);
  assert.equal((await thrown(() => client.getBackupInfo(server, uuid))).HTML_STATUS, 404);
  assert.equal((await thrown(() => client.createBackup(full))).HTML_STATUS, 400);
  const refused = (key) => thrown(() => new Client(url, key, undefined, true).getAllBackups(server));
  assert.equal((await refused(wrongKey)).HTML_STATUS, 401);
  assert.equal((await refused(spent)).HTML_STATUS, 429);
}

async function nodeactyl() {
  const { NodeactylClient } = require("nodeactyl");
  const client = new NodeactylClient(url, key);
  assert.equal((await client.getAccountDetails()).email, "owner@example.com");
  assert.ok((await client.getServerDetails(server)).uuid);
  const bare = (answer) => answer.attributes ?? answer;
  const { uuid } = bare(await client.createServerBackup(server));
  const shown = await until(async () => bare(await client.getBackupDetails(server, uuid)), (one) => one.completed_at);
  const link = await client.getBackupDownload(server, uuid);
  assert.equal(await sha256Of(bare(link).url ?? link), shown.sha256_hash);
  assert.ok((await client.listServerBackups(server)).length ?? true);
  await client.deleteBackup(server, uuid);
  assert.equal(await thrown(() => client.getBackupDetails(server, uuid)), 404);
  assert.equal(await thrown(() => client.createServerBackup(full)), 400);
  const refused = (key) => thrown(() => new NodeactylClient(url, key).listServerBackups(server));
  assert.equal(await refused(wrongKey), 401);
  assert.equal(await refused(spent), 429);
}

(async () => {
  for (const library of [pterojs, jspteroapi, nodeactyl]) {
    await library();
    console.log(`ok: ${library.name}`);
  }
  process.exit(0);
})();
