// Looks at pages with a real browser: node visit.mjs PLAN.json
//
// PLAN: { base, pages: [{ name, path, has: [words], lacks: [words], status, operator: true }], stories: [names],
//   operator: { token, build }, shots: DIR or null }. Pages of an operator are opened after logging in with the token.
// Each page is opened at two widths in two themes. What is wrong with it goes to stdout as one JSON list of
// sentences: messages on the console, requests to other hosts, failed requests, findings of axe-core, pages wider
// than their window, missing words. Playwright and axe-core are below $HALLMARK_BROWSER (tests/lab/make-browser.sh).
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";

const require = createRequire(`${process.env.HALLMARK_BROWSER}/package.json`);
const { chromium } = require("playwright-core");
const axe = require("axe-core").source;

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const problems = [];
const WIDTHS = [1440, 390];
const THEMES = ["light", "dark"];

const browser = await chromium.launch({
  executablePath: process.env.HALLMARK_CHROMIUM,
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// A page that reports everything that should not happen on it.
async function watched(options, where, expectStatus = 200) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const tell = (text) => problems.push(`${where}: ${text}`);
  page.on("console", (message) => {
    // Chromium itself writes a line about each answer that is an error.
    const own = expectStatus >= 400 && message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !own) tell(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => tell(`script: ${error.message}`));
  page.on("dialog", (dialog) => { tell(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    if (!request.url().startsWith(plan.base + "/")) tell(`asks ${request.url()}`);
  });
  page.on("requestfailed", (request) => {
    // A page that turns out to be a file is not opened.
    if (!request.url().includes("/waiver.json?")) tell(`${request.url()} failed: ${request.failure()?.errorText}`);
  });
  return { context, page, tell };
}

async function accessible(page, tell) {
  const found = await page.evaluate(`(() => { ${axe}; return axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }); })()`);
  for (const violation of found.violations) {
    for (const node of violation.nodes.slice(0, 3)) {
      tell(`axe ${violation.id}: ${node.html.slice(0, 200)} ${node.failureSummary.replaceAll("\n", " ").slice(0, 300)}`);
    }
  }
}

// Logs in by the form; later pages take the session along.
let session;
async function loggedIn() {
  if (session) return session;
  const { context, page, tell } = await watched({ javaScriptEnabled: false }, "log-in");
  await page.goto(plan.base + "/operator/keys");
  await page.fill("#token", plan.operator.token);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/operator/keys").catch(() => tell(`leads to ${page.url()}`));
  session = await context.storageState();
  await context.close();
  return session;
}

async function look({ name, path, has = [], lacks = [], status = 200, operator = false }) {
  const storageState = operator ? await loggedIn() : undefined;
  for (const width of WIDTHS) {
    for (const theme of THEMES) {
      const where = `${path} (${width} px, ${theme})`;
      const { context, page, tell } = await watched({ viewport: { width, height: 900 }, colorScheme: theme, storageState }, where, status);
      const answer = await page.goto(plan.base + path, { waitUntil: "load" });
      if (answer.status() !== status) tell(`status ${answer.status()}`);
      const [wide, text] = await page.evaluate(() => [document.documentElement.scrollWidth, document.body.innerText]);
      if (wide > width) tell(`is ${wide} px wide`);
      for (const word of has) if (!text.includes(word)) tell(`does not say "${word}"`);
      for (const word of lacks) if (text.includes(word)) tell(`says "${word}"`);
      if (width === WIDTHS[0] || theme === THEMES[0]) await accessible(page, tell);
      if (plan.shots) await page.screenshot({ path: `${plan.shots}/${name}-${width}-${theme}.png`, fullPage: true });
      await context.close();
    }
  }
}

const stories = {
  // The search field of every page finds packages, without scripts and by keyboard alone.
  async search_without_scripts() {
    const { context, page, tell } = await watched({ javaScriptEnabled: false }, "search without scripts");
    await page.goto(plan.base + "/");
    await page.focus("#find");
    await page.keyboard.type("hello");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/search?q=hello");
    await page.click("section[aria-labelledby=names] a");
    if (!page.url().endsWith("/packages/hello")) tell(`leads to ${page.url()}`);
    await context.close();
  },
  // The first stop of the keyboard jumps over the navigation.
  async keyboard() {
    const { context, page, tell } = await watched({}, "keyboard");
    await page.goto(plan.base + "/");
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.className) !== "skip") tell("the skip link is not first");
    await page.keyboard.press("Enter");
    if (await page.evaluate(() => document.activeElement.id) !== "main") tell("the skip link does not lead to the content");
    await context.close();
  },
  // An operator decides by forms alone, without scripts: tries a build again, writes a waiver, makes a token and
  // ends it, rejects the build, and leaves.
  async operator_decides() {
    const storageState = await loggedIn();
    const options = { javaScriptEnabled: false, storageState, acceptDownloads: true };
    const { context, page, tell } = await watched(options, "operator decides", 422);
    const at = `${plan.base}/operator/builds/${plan.operator.build}`;
    const says = async (text) => {
      if (!(await page.innerText("main")).includes(text)) tell(`${page.url()} does not say "${text}"`);
    };
    await page.goto(at);
    await page.click(`form[action$="/retry"] button`);
    await page.waitForURL("**?done=retry");
    await says("It is tried again.");
    for (let tries = 0; tries < 100 && !(await page.$("#waiver-reason")); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      await page.goto(at);
    }
    await page.fill("#waiver-reason", "it cannot wait");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Download the unsigned waiver")]);
    if (download.suggestedFilename() !== `waiver-${plan.operator.build}.json`) tell(`downloads ${download.suggestedFilename()}`);
    await page.setInputFiles("#waiver-file", await download.path());
    const refused = page.waitForResponse((answer) => answer.request().method() === "POST");
    await page.click("text=Hand it in >> nth=-1");
    if ((await refused).status() !== 422) tell("an unsigned waiver was taken in");
    await says("no waiver that anybody signed");
    await page.goto(`${plan.base}/operator/tokens`);
    await page.fill("#name", "of the browser");
    await page.check("input[value=read]");
    await page.click("text=Make it");
    await says("hallmark_");
    await page.click('tbody tr:has-text("of the browser") button');
    await says("The token is revoked.");
    await page.goto(at);
    await page.fill("#reject-reason", "<script>alert(9)</script>");
    await page.click("text=Reject it");
    await says("It is rejected, and never goes out with these bytes.");
    await says("<script>alert(9)</script>");
    await page.click("text=Log out");
    await page.waitForURL("**/operator/log-in", { waitUntil: "networkidle" });
    await page.goto(at);
    if (!page.url().includes("/operator/log-in")) tell("the session goes on after logging out");
    await context.close();
  },
  // A copied command is the whole command.
  async copy() {
    const { context, page, tell } = await watched({ permissions: ["clipboard-read", "clipboard-write"] }, "copy");
    await page.goto(plan.base + "/");
    const first = page.locator(".command").first();
    const command = (await first.locator("code").innerText()).trim();
    await first.getByRole("button").click();
    await first.getByText("Copied").waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    if (copied !== command || !copied.includes(plan.base)) tell(`copied ${copied}, not ${command}`);
    await context.close();
  },
};

if (plan.shots) mkdirSync(plan.shots, { recursive: true });
for (const page of plan.pages) await look(page);
for (const story of plan.stories) await stories[story]();
await browser.close();
console.log(JSON.stringify(problems, null, 1));
