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
  await pterojsSchedules(client);
  const many = (await client.servers.fetch(full)).backups;
  assert.match((await thrown(() => many.create())).message, /reached its backup limit/);
  assert.match((await thrown(() => new PteroClient(url, wrongKey).servers.fetch(server))).message, /credentials/);
  assert.match((await thrown(() => new PteroClient(url, spent).servers.fetch(server))).message, /slow down/);
}

async function pterojsSchedules(client) {
  const cron = { hour: "4", minute: "0", month: "*" };
  const made = await client.schedules.create(server, { name: "pterojs", active: true, ...cron });
  assert.equal(made.cron.hour, "4");
  assert.ok(made.nextRunAt > new Date());
  const task = await made.createTask("backup", "*.log", 0, 1);
  assert.equal(task.sequenceId, 1);
  const changed = { action: "backup", payload: "cache/", offset: 0 };
  assert.equal((await made.updateTask(task.id, changed)).payload, "cache/");
  // It changes schedules by PATCH, and leaves fields out.
  const later = await client.schedules.update(server, made.id, { name: "changed", hour: "5" });
  assert.deepEqual([later.name, later.cron.hour, later.active], ["changed", "5", true]);
  await made.execute();
  const shown = await until(
    () => client.schedules.fetch(server, made.id, { force: true }),
    (one) => one.lastRunAt.getTime() > 0 && !one.processing,
  );
  assert.equal(shown.tasks.get(task.id).payload, "cache/");
  const { backups } = await client.servers.fetch(server);
  const [backup] = [...(await backups.fetch()).values()].sort((a, b) => b.createdAt - a.createdAt);
  assert.deepEqual([backup.successful, backup.ignoredFiles], [true, ["cache/"]]);
  await backups.delete(backup.uuid);
  await made.deleteTask(task.id);
  assert.ok((await client.schedules.fetch(server)).has(made.id));
  await client.schedules.delete(server, made.id);
  assert.match((await thrown(() => client.schedules.fetch(server, made.id, { force: true }))).message, /could not be found/);
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
  await jspteroapiSchedules(client);
  assert.equal((await thrown(() => client.createBackup(full))).HTML_STATUS, 400);
  const refused = (key) => thrown(() => new Client(url, key, undefined, true).getAllBackups(server));
  assert.equal((await refused(wrongKey)).HTML_STATUS, 401);
  assert.equal((await refused(spent)).HTML_STATUS, 429);
}

async function jspteroapiSchedules(client) {
  // Its client has only four of these methods.
  const { scheduleMethods } = require("@linux123123/jspteroapi/dist/client/methods/schedule");
  const schedules = new scheduleMethods(client);
  const { id } = await schedules.createSchedule(server, "jspteroapi", "*/30", "*", "*", "*", "1,3");
  const task = await schedules.createTask(server, id, "backup", "*.log", 5, true);
  assert.deepEqual([task.time_offset, task.continue_on_failure], [5, true]);
  assert.equal((await schedules.editTask(server, id, task.id, { timeOffset: 900 })).time_offset, 900);
  const changed = await schedules.editSchedule(server, id, { name: "changed", isActive: false });
  assert.deepEqual([changed.name, changed.is_active, changed.cron.minute], ["changed", false, "*/30"]);
  assert.equal((await schedules.getScheduleInfo(server, id)).relationships.tasks.data[0].attributes.id, task.id);
  const late = await thrown(() => schedules.editTask(server, id, task.id, { timeOffset: 901 }));
  assert.equal(late.HTML_STATUS, 422);
  await schedules.deleteTask(server, id, task.id);
  assert.ok((await schedules.getAllSchedules(server)).some((one) => one.attributes.id === id));
  await schedules.deleteSchedule(server, id);
  assert.equal((await thrown(() => schedules.getScheduleInfo(server, id))).HTML_STATUS, 404);
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
