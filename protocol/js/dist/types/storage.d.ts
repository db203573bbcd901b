import type { Keyed } from "./caller.js";
import type { ObjectToDelete, ObjectToRead, ObjectToWrite, StoredObject } from "./messages.js";
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
export declare class Storage {
    #private;
    /** Write an object; returns its version. */
    write(collection: string, name: string, value: unknown, { key, ...options }?: WriteOptions): Promise<number>;
    /** Write objects, all or none; returns their versions. Their values are JSON as text. */
    writeAll(objects: ObjectToWrite[], options?: Keyed): Promise<number[]>;
    /**
     * Read an object of the session's user, or of `user`; undefined: there is none, or the session's
     * user may not read it.
     */
    read(collection: string, name: string, user?: string): Promise<StoredObject | undefined>;
    /** Read objects; returns, in this order, those that exist and that the user may read. */
    readAll(objects: ObjectToRead[]): Promise<StoredObject[]>;
    /** Delete an object of the user; with `version`, only if the object has this version. */
    delete(collection: string, name: string, { version, key }?: Keyed & {
        version?: number;
    }): Promise<void>;
    /** Delete objects of the user, all or none. */
    deleteAll(objects: ObjectToDelete[], options?: Keyed): Promise<void>;
    /**
     * The objects of a collection that the user may read, by key: the user's own, those of another
     * `user` that are public, or the public ones of `everyone`. A long collection takes many
     * requests, of `page` objects each.
     */
    list(collection: string, { user, everyone, page }?: {
        user?: string;
        everyone?: boolean;
        page?: number;
    }): AsyncGenerator<StoredObject, void>;
}
