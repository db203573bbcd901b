import type { Caller, Keyed } from "./caller.ts";
import { keyOrNew } from "./calls.ts";
import { ClientError } from "./errors.ts";
import type {
  Answers,
  ObjectToDelete,
  ObjectToRead,
  ObjectToWrite,
  Requests,
  StoredObject,
} from "./messages.ts";
import { patiently } from "./patience.ts";

/** Options of the write of an object. */
export interface WriteOptions extends Keyed {
  /** Write only if the object has this version; 0: only if it does not exist. */
  version?: number;
  /** Who may read it; by default its owner. */
  read?: "nobody" | "owner" | "public";
  /** Who may write it from then on; by default its owner. */
  write?: "nobody" | "owner";
}

/**
 * The objects of a session's user on the server, and the public objects of others. A value is
 * JSON; `JSON.parse(object.value)` reads it back.
 */
export class Storage {
  readonly #caller: Caller;

  /** @internal */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Write an object; returns its version. */
  async write(
    collection: string,
    name: string,
    value: unknown,
    { key, ...options }: WriteOptions = {},
  ): Promise<number> {
    const object = { collection, key: name, value: toJson(value), ...options };
    const [version] = await this.writeAll([object], { key });
    return version as number;
  }

  /** Write objects, all or none; returns their versions. Their values are JSON as text. */
  async writeAll(objects: ObjectToWrite[], options: Keyed = {}): Promise<number[]> {
    const key = keyOrNew(options.key);
    return (await this.#caller.request("storage.write", { objects, key })).versions;
  }

  /**
   * Read an object of the session's user, or of `user`; undefined: there is none, or the session's
   * user may not read it.
   */
  async read(collection: string, name: string, user?: string): Promise<StoredObject | undefined> {
    const object = { collection, key: name, user: user ?? null };
    return (await this.readAll([object]))[0];
  }

  /** Read objects; returns, in this order, those that exist and that the user may read. */
  async readAll(objects: ObjectToRead[]): Promise<StoredObject[]> {
    const found: StoredObject[] = [];
    for (let left = objects, first = true; left.length; first = false) {
      const request = { objects: left };
      const answer = first
        ? await this.#caller.request("storage.read", request)
        : await patiently(this.#caller, "storage.read", request);
      const unread = answer.unread ?? 0;
      if (unread >= left.length) throw new ClientError("storage.read: nothing was read");
      found.push(...answer.objects);
      left = left.slice(left.length - unread);
    }
    return found;
  }

  /** Delete an object of the user; with `version`, only if the object has this version. */
  async delete(
    collection: string,
    name: string,
    { version, key }: Keyed & { version?: number } = {},
  ): Promise<void> {
    await this.deleteAll([{ collection, key: name, version: version ?? null }], { key });
  }

  /** Delete objects of the user, all or none. */
  async deleteAll(objects: ObjectToDelete[], options: Keyed = {}): Promise<void> {
    const key = keyOrNew(options.key);
    await this.#caller.request("storage.delete", { objects, key });
  }

  /**
   * The objects of a collection that the user may read, by key: the user's own, those of another
   * `user` that are public, or the public ones of `everyone`. A long collection takes many
   * requests, of `page` objects each.
   */
  async *list(
    collection: string,
    { user, everyone = false, page = 50 }: { user?: string; everyone?: boolean; page?: number } = {},
  ): AsyncGenerator<StoredObject, void> {
    let cursor: string | null = null;
    do {
      const request: Requests["storage.list"] = {
        collection, user: user ?? null, everyone, limit: page, cursor,
      };
      const answer: Answers["storage.list"] = await patiently(
        this.#caller, "storage.list", request,
      );
      yield* answer.objects;
      cursor = answer.cursor ?? null;
    } while (cursor !== null);
  }
}

/** A value as JSON. JSON has no NaN and no infinities, and would silently make them null. */
function toJson(value: unknown): string {
  const text = JSON.stringify(value, (key, one: unknown) => {
    if (typeof one === "number" && !Number.isFinite(one)) {
      throw new TypeError(`${key || "value"} (${one}) is no number that JSON can hold`);
    }
    return one;
  }) as string | undefined;
  if (text === undefined) throw new TypeError("the value is nothing that JSON can hold");
  return text;
}
