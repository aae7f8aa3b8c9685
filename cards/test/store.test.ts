import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { feedOf } from "../src/store.ts";
import type { Hass, Snapshot } from "../src/types.ts";
import { hass, snapshot } from "./home.ts";

class Connection {
  sent: object[] = [];
  stopped = 0;
  hear: (message: Snapshot) => void = () => undefined;
  refuse = false;
  begun = Promise.resolve();

  subscribeMessage<T>(listener: (message: T) => void, message: object): Promise<() => Promise<void>> {
    this.sent.push(message);
    this.hear = listener as unknown as (message: Snapshot) => void;
    if (this.refuse) return Promise.reject(new Error("unknown_command"));
    return this.begun.then(() => () => {
      this.stopped++;
      return Promise.resolve();
    });
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function home(): { connection: Connection; hass: Hass } {
  const connection = new Connection();
  return { connection, hass: hass({ connection }) };
}

test("cards of one home share a subscription; the last to leave ends it", async () => {
  const { connection, hass } = home();
  const heard: string[] = [];
  const first = feedOf(hass, undefined).listen((seen) => heard.push(`first ${seen?.snapshot.title}`));
  await settle();
  connection.hear(snapshot());
  const second = feedOf(hass, undefined).listen((seen) => heard.push(`second ${seen?.snapshot.title}`));
  assert.deepEqual(connection.sent, [{ type: "energy_trade/subscribe" }]);
  assert.deepEqual(heard, ["first Elm Street", "second Elm Street"]);
  first();
  assert.equal(connection.stopped, 0);
  second();
  await settle();
  assert.equal(connection.stopped, 1);
});

test("another home has its own", async () => {
  const { connection, hass } = home();
  const stops = ["one", "two"].map((entry) => feedOf(hass, entry).listen(() => undefined));
  await settle();
  assert.deepEqual(
    connection.sent.map((message) => (message as { entry_id?: string }).entry_id),
    ["one", "two"],
  );
  for (const stop of stops) stop();
});

test("who leaves while the subscription is on its way leaves none behind", async () => {
  const { connection, hass } = home();
  feedOf(hass, "one").listen(() => undefined)();
  const stop = feedOf(hass, "one").listen(() => undefined);
  await settle();
  assert.equal(connection.sent.length, 2);
  assert.equal(connection.stopped, 1);
  stop();
  await settle();
  assert.equal(connection.stopped, 2);
});

test("a refusal is told and tried again", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { connection, hass } = home();
  connection.refuse = true;
  const heard: unknown[] = [];
  const stop = feedOf(hass, "one").listen((seen) => heard.push(seen));
  await settle();
  assert.deepEqual(heard, [null]);
  connection.refuse = false;
  mock.timers.tick(10_000);
  await settle();
  assert.equal(connection.sent.length, 2);
  stop();
  mock.timers.reset();
});
