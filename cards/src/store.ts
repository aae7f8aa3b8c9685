// One subscription per home, however many cards show it.
import type { Hass, Snapshot } from "./types.ts";

export interface Seen {
  snapshot: Snapshot;
  /** The market's clock minus this browser's, in seconds. */
  offset_s: number;
}

type Listener = (seen: Seen | null) => void;

const RETRY_MS = 10_000;

/** Follows one home for all its listeners; hears `null` while Home Assistant does not know the command. */
export class Feed {
  private readonly listeners = new Set<Listener>();
  private readonly connection: Hass["connection"];
  private readonly message: object;
  private latest: Seen | null = null;
  private unsubscribe: (() => Promise<void>) | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private run = 0;

  constructor(connection: Hass["connection"], entryId: string | undefined) {
    this.connection = connection;
    this.message = { type: "energy_trade/subscribe", ...(entryId === undefined ? {} : { entry_id: entryId }) };
  }

  /** Tell the listener what is known and what comes; return how to stop that. */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    if (this.latest) listener(this.latest);
    if (this.listeners.size === 1) void this.begin();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.end();
    };
  }

  private async begin(): Promise<void> {
    const run = ++this.run;
    try {
      const stop = await this.connection.subscribeMessage<Snapshot>((snapshot) => this.hear(snapshot), this.message);
      if (run === this.run) this.unsubscribe = stop;
      else await stop(); // everybody left while it was on its way
    } catch {
      if (run !== this.run) return;
      for (const listener of this.listeners) listener(null);
      this.timer = setTimeout(() => void this.begin(), RETRY_MS);
    }
  }

  private end(): void {
    this.run++;
    clearTimeout(this.timer);
    void this.unsubscribe?.().catch(() => undefined);
    this.unsubscribe = null;
    this.latest = null;
  }

  private hear(snapshot: Snapshot): void {
    this.latest = { snapshot, offset_s: snapshot.at - Date.now() / 1000 };
    for (const listener of this.listeners) listener(this.latest);
  }
}

const feeds = new WeakMap<Hass["connection"], Map<string, Feed>>();

/** Return the feed that all cards of this home share. */
export function feedOf(hass: Hass, entryId: string | undefined): Feed {
  const known = feeds.get(hass.connection) ?? new Map<string, Feed>();
  feeds.set(hass.connection, known);
  const key = entryId ?? "";
  const feed = known.get(key) ?? new Feed(hass.connection, entryId);
  known.set(key, feed);
  return feed;
}
