import { CannotConnect } from "./errors.ts";
import type { SessionOpened } from "./messages.ts";

/** An access token of the server's accounts, or what brings a fresh one. */
export type AccessToken = string | (() => string | Promise<string>);

/** A token is renewed when this part of its time is over. */
const RENEWED_AFTER = 0.8;
/** At the soonest: this machine's clock may be wrong, and then the server says when it is time. */
const AT_LEAST_MS = 10_000;

/** When the session's access token runs out, by the server's clock; a guest has none. */
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

  /** A token for now. @throws CannotConnect there is none, and another attempt may bring one. */
  async token(): Promise<string> {
    try {
      return typeof this.#token === "function" ? await this.#token() : this.#token;
    } catch (error) {
      throw new CannotConnect(this.#url, `there is no access token: ${error}`);
    }
  }

  /** Call `renew` in time, if there is something to renew and a way to get a fresh token. */
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
