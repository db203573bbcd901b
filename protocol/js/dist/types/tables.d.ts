/** The ops that may be sent again after a break without harm. */
export declare const HARMLESS: ReadonlySet<string>;
/** The ops that may be sent again if they bear a `key`. */
export declare const BY_KEY: ReadonlySet<string>;
/** The codes of errors after which the same request may succeed later. */
export declare const RETRY: ReadonlySet<string>;
/** The names of the close codes. */
export declare const CLOSES: Readonly<Record<number, string>>;
