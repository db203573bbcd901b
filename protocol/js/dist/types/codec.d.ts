export type Payload = string | Uint8Array<ArrayBuffer>;
/** One of the two encodings of the protocol. */
export interface Codec {
    readonly subprotocol: string;
    /** Fields that are undefined are left out. */
    encode(message: unknown): Payload;
    decode(data: unknown): unknown;
    bytes(payload: Payload): number;
}
export declare const CODECS: {
    readonly msgpack: Codec;
    readonly json: Codec;
};
