// Does with Chromium what it is told on standard input, a command a line; see browser.py.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../../protocol/js/package.json", import.meta.url));
const puppeteer = require("puppeteer-core");
const pages = new Map();

// Root cannot have the sandbox, and a container's /dev/shm is small.
const ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];

async function launch() {
  const given = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (existsSync(given)) return puppeteer.launch({ executablePath: given, args: ARGUMENTS });
  const { default: chromium } = await import(require.resolve("@sparticuz/chromium"));
  const executablePath = await chromium.executablePath();
  return puppeteer.launch({ executablePath, args: ARGUMENTS, headless: "shell" });
}

const starting = launch();
starting.catch(() => {}); // whoever asks is told

const commands = {
  version: async () => (await starting).version(),
  close: async () => (await starting).close(),
  async open({ page, url }) {
    const context = await (await starting).createBrowserContext();
    const opened = await context.newPage();
    const faults = [];
    opened.on("pageerror", (error) => faults.push(String(error)));
    opened.on("console", (message) => {
      if (message.type() === "error") faults.push(message.text());
    });
    pages.set(page, { opened, faults });
    await opened.goto(url);
  },
  faults: ({ page }) => pages.get(page).faults,
  evaluate: ({ page, script }) => pages.get(page).opened.evaluate(script),
  async until({ page, script }) {
    await pages.get(page).opened.waitForFunction(script, { timeout: 0, polling: 50 });
  },
  click: ({ page, selector }) => pages.get(page).opened.click(selector),
  async say({ page, selector, text }) {
    await pages.get(page).opened.type(selector, text);
    await pages.get(page).opened.keyboard.press("Enter");
  },
  down: ({ page, key }) => pages.get(page).opened.keyboard.down(key),
  up: ({ page, key }) => pages.get(page).opened.keyboard.up(key),
  reload: ({ page }) => pages.get(page).opened.reload(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, command, ...given } = JSON.parse(line);
  Promise.resolve(commands[command](given)).then(
    (answer) => process.stdout.write(`${JSON.stringify({ id, answer: answer ?? null })}\n`),
    ({ name, message }) =>
      process.stdout.write(`${JSON.stringify({ id, error: { name, message } })}\n`),
  );
}
await starting.then((browser) => browser.close(), () => {});
process.exit();
