import { Decoder, Encoder } from "@msgpack/msgpack";

export type Payload = string | Uint8Array<ArrayBuffer>;

/** One of the two encodings of the protocol. */
export interface Codec {
  readonly subprotocol: string;
  /** Fields that are undefined are left out. */
  encode(message: unknown): Payload;
  decode(data: unknown): unknown;
  bytes(payload: Payload): number;
}

const encoder = new Encoder({ ignoreUndefined: true });
const decoder = new Decoder();

const msgpack: Codec = {
  subprotocol: "greenroom.v1.msgpack",
  encode: (message) => encoder.encode(message),
  decode: (data) => decoder.decode(new Uint8Array(data as ArrayBuffer)),
  bytes: (payload) => payload.length,
};

const json: Codec = {
  subprotocol: "greenroom.v1.json",
  encode: (message) => JSON.stringify(message),
  decode: (data) => JSON.parse(data as string),
  bytes: (payload) => new TextEncoder().encode(payload as string).length,
};

export const CODECS = { msgpack, json } as const;
