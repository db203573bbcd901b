import { CannotConnect } from "./errors.ts";
import type { SessionOpened } from "./messages.ts";

/** An access token of an account, or a function that returns a fresh one. */
export type AccessToken = string | (() => string | Promise<string>);

/** A token is renewed when this part of its lifetime is over. */
const RENEWED_AFTER = 0.8;
/** The least time before a renewal, since this machine's clock may be wrong. */
const AT_LEAST_MS = 10_000;

/** The part of an answer that says when the access token runs out; a guest has none. */
export type Expiring = Pick<SessionOpened, "token" | "expires">;

/** Renews the access token of a session on its open connection. */
export class Access {
  readonly #token: AccessToken;
  readonly #url: string;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(token: AccessToken, url: string) {
    this.#token = token;
    this.#url = url;
  }

  /** Whether there is a way to get a fresh token. */
  get renewable(): boolean {
    return typeof this.#token === "function";
  }

  /** Return a token. @throws CannotConnect there is none now; another attempt may bring one. */
  async token(): Promise<string> {
    try {
      return typeof this.#token === "function" ? await this.#token() : this.#token;
    } catch (error) {
      throw new CannotConnect(this.#url, `there is no access token: ${error}`);
    }
  }

  /** Call `renew` before the token runs out, if it does and there is a way to get another. */
  watch({ expires }: Expiring, renew: () => void): void {
    this.stop();
    if (expires == null || !this.renewable) return;
    const left = (expires - Date.now()) * RENEWED_AFTER;
    this.#timer = setTimeout(renew, Math.min(Math.max(left, AT_LEAST_MS), 2 ** 31 - 1));
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
