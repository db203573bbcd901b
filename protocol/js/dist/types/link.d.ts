import type { Codec, Payload } from "./codec.js";
import type { ServerMessage } from "./envelope.js";
import { ClientError } from "./errors.js";
/** What the client uses of a WebSocket: a browser's, Node's, or one of the package `ws`. */
export interface WebSocketLike {
    binaryType: string;
    readonly protocol: string;
    onopen: ((event: any) => void) | null;
    onmessage: ((event: any) => void) | null;
    onerror: ((event: any) => void) | null;
    onclose: ((event: any) => void) | null;
    send(data: Payload): void;
    close(code?: number, reason?: string): void;
}
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;
/** The address of a server, and how to connect to it. */
export interface Endpoint {
    readonly url: string;
    readonly codec: Codec;
    readonly WebSocket: WebSocketClass;
    readonly timeoutMs: number;
}
/** One connection to the server: messages in and out. */
export declare class Link {
    #private;
    /** Settles with the reason when the connection ends. */
    readonly ended: Promise<ClientError>;
    /** Whether a message has come since this was last set to false. */
    heard: boolean;
    private constructor();
    /**
     * Connect.
     *
     * @param received takes each message, at once.
     * @throws CannotConnect
     */
    static open(endpoint: Endpoint, received: (message: ServerMessage) => void): Promise<Link>;
    send(payload: Payload): void;
    /** End the connection. `ended` settles at once, without waiting for the network. */
    close(why: ClientError): void;
}
