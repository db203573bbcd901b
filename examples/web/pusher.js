// Where the player pushes: by keys, or towards where the mouse or a finger is held down.
const KEYS = {
  ArrowUp: [0, -1], KeyW: [0, -1],
  ArrowDown: [0, 1], KeyS: [0, 1],
  ArrowLeft: [-1, 0], KeyA: [-1, 0],
  ArrowRight: [1, 0], KeyD: [1, 0],
};
const EVERY_MS = 50;

export class Pusher {
  #held = new Set();
  #pointer;
  #sent = "";
  #send;

  /** @param send is given each change of the push, `{ x, y }`, at most once a tick. */
  constructor(canvas, send) {
    this.#send = send;
    addEventListener("keydown", (event) => this.#key(event, true));
    addEventListener("keyup", (event) => this.#key(event, false));
    addEventListener("blur", () => this.#held.clear());
    canvas.tabIndex = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#point(canvas, event);
    });
    canvas.addEventListener("pointermove", (event) => this.#pointer && this.#point(canvas, event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        this.#pointer = undefined;
      });
    }
    setInterval(() => this.#look(), EVERY_MS);
  }

  /** Send where the player pushes, even if it has not changed. */
  again() {
    this.#sent = "";
  }

  #key(event, down) {
    if (!(event.code in KEYS) || event.target instanceof HTMLInputElement) return;
    event.preventDefault();
    if (down) this.#held.add(event.code);
    else this.#held.delete(event.code);
  }

  #point(canvas, event) {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * 2 - 1;
    const y = ((event.clientY - box.top) / box.height) * 2 - 1;
    const length = Math.max(Math.hypot(x, y), 1e-9);
    this.#pointer = [x / length, y / length];
  }

  #look() {
    const ways = this.#pointer ? [this.#pointer] : [...this.#held].map((code) => KEYS[code]);
    const sum = (axis) => ways.reduce((total, way) => total + way[axis], 0);
    const bounded = (value) => Math.round(Math.max(-1, Math.min(1, value)) * 100) / 100;
    const push = { x: bounded(sum(0)), y: bounded(sum(1)) };
    const text = JSON.stringify(push);
    if (text === this.#sent) return;
    this.#sent = text;
    this.#send(push);
  }
}
