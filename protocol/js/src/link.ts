import type { Codec, Payload } from "./codec.ts";
import type { ServerMessage } from "./envelope.ts";
import { CannotConnect, ClientError, closeCode, Disconnected } from "./errors.ts";

/** What the client uses of a WebSocket: a browser's, Node's, or one of the package `ws`. */
export interface WebSocketLike {
  binaryType: string;
  readonly protocol: string;
  // The types of events differ between these WebSockets.
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
export class Link {
  /** Settles with the reason when the connection ends. */
  readonly ended: Promise<ClientError>;
  /** Whether a message has come since this was last set to false. */
  heard = true;
  readonly #socket: WebSocketLike;
  #end!: (why: ClientError) => void;

  private constructor(
    socket: WebSocketLike,
    codec: Codec,
    received: (message: ServerMessage) => void,
  ) {
    this.#socket = socket;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    socket.onmessage = ({ data }) => {
      this.heard = true;
      try {
        received(decoded(codec, data));
      } catch (error) {
        this.close(clientError(error));
      }
    };
    socket.onerror = unheard; // a close follows
    socket.onclose = ({ code, reason }) => this.close(closed(code, reason));
  }

  /**
   * Connect.
   *
   * @param received takes each message, at once.
   * @throws CannotConnect
   */
  static open(endpoint: Endpoint, received: (message: ServerMessage) => void): Promise<Link> {
    const { url, codec, timeoutMs } = endpoint;
    return new Promise((resolve, reject) => {
      let socket: WebSocketLike;
      try {
        socket = new endpoint.WebSocket(url, [codec.subprotocol]);
      } catch (error) {
        reject(new CannotConnect(url, `${error}`, true));
        return;
      }
      socket.binaryType = "arraybuffer";
      const fail = (why: string, permanent = false): void => {
        clearTimeout(timer);
        socket.onopen = socket.onclose = null;
        socket.onerror = unheard;
        socket.close();
        reject(new CannotConnect(url, why, permanent));
      };
      const timer = setTimeout(() => fail(`no answer within ${timeoutMs} ms`), timeoutMs);
      socket.onopen = () => {
        if (socket.protocol !== codec.subprotocol) {
          fail(`the server does not speak ${codec.subprotocol}`, true);
          return;
        }
        clearTimeout(timer);
        resolve(new Link(socket, codec, received));
      };
      socket.onerror = (event) => fail(event.error?.message || event.message || REFUSED);
      socket.onclose = () => fail(REFUSED);
    });
  }

  send(payload: Payload): void {
    this.#socket.send(payload);
  }

  /** End the connection. `ended` settles at once, without waiting for the network. */
  close(why: ClientError): void {
    const socket = this.#socket;
    socket.onmessage = socket.onclose = null;
    socket.onerror = unheard;
    socket.close();
    this.#end(why);
  }
}

/** The handler of an error that matters no more. `ws` throws one that has no handler. */
function unheard(): void {}

function clientError(error: unknown): ClientError {
  return error instanceof ClientError ? error : new ClientError(`${error}`);
}

const REFUSED = "nobody listens there, or the server refused the handshake";

function decoded(codec: Codec, data: unknown): ServerMessage {
  let message: unknown;
  try {
    message = codec.decode(data);
  } catch (error) {
    throw new ClientError(`the server sent what is no message: ${error}`);
  }
  if (typeof (message as ServerMessage | null)?.op !== "string") {
    throw new ClientError("the server sent what is no message: it has no op");
  }
  return message as ServerMessage;
}

function closed(code: number, reason: string): Disconnected {
  const close = closeCode(code);
  if (code === 1006) return new Disconnected("the connection broke", close);
  // Greenroom's own closes have their name as the reason.
  const why = reason && reason !== close.name ? ` (${reason})` : "";
  return new Disconnected(`closed with ${code} ${close.name}${why}`, close);
}
