const THEMES = ["auto", "light", "dark"];
const SELECTS = ["step", "groups", "responses", "order"];
const CHECKS = ["eased", "both"];

function moveGroup(by) {
  const next = state.shown[state.shown.indexOf(state.group) + by];
  if (next) show(next);
}

function moveStep(by) {
  const next = fields.step.selectedIndex + by;
  if (next < 0 || next >= fields.step.options.length) return;
  fields.step.selectedIndex = next;
  applyFilters();
}

function setView(view) {
  state.view = view;
  const summary = view === "summary";
  byId("summary").hidden = !summary;
  byId("tokens").hidden = byId("finder").hidden = byId("find").hidden = summary;
  byId("view-summary").ariaPressed = summary;
  byId("view-tokens").ariaPressed = !summary;
  hideTip();
  drawRows();
  writeAddress();
}

function setTheme(theme) {
  state.theme = theme;
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `◐ ${theme}`;
  byId("theme").ariaLabel = `Theme: ${theme}`;
  writeAddress();
}

function nextTheme() {
  setTheme(THEMES[(THEMES.indexOf(state.theme) + 1) % THEMES.length]);
}

/** On a narrow screen, show the list of groups instead of the group. */
function setFinding(finding) {
  document.body.classList.toggle("finding", finding);
  byId("find").ariaExpanded = finding;
  drawRows();
}

function search() {
  setView("tokens");
  setFinding(true);
  fields.q.select();
}

function leave() {
  hideTip();
  setFinding(false);
  document.activeElement.blur();
}

const KEYS = {
  j: () => moveGroup(1),
  k: () => moveGroup(-1),
  n: () => moveResponse(1),
  p: () => moveResponse(-1),
  s: () => moveEased(1),
  S: () => moveEased(-1),
  ArrowRight: () => moveToken(1),
  ArrowLeft: () => moveToken(-1),
  "]": () => moveStep(1),
  "[": () => moveStep(-1),
  v: () => setView(state.view === "tokens" ? "summary" : "tokens"),
  t: nextTheme,
  "/": search,
  "?": () => byId("help").showModal(),
  Escape: leave,
};
const LIST_KEYS = {
  ArrowDown: () => moveGroup(1),
  ArrowUp: () => moveGroup(-1),
  Home: () => show(state.shown[0]),
  End: () => show(state.shown.at(-1)),
};

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.target.matches("input[type=search], select") && event.key !== "Escape") return;
  const action = (event.target === list && LIST_KEYS[event.key]) || KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

let addressTimer = 0;

/** Keep in the address what is looked at; not at once, since browsers limit how often it may change. */
function writeAddress() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => {
    const kept = new URLSearchParams();
    if (fields.q.value) kept.set("q", fields.q.value);
    for (const name of SELECTS) if (fields[name].selectedIndex) kept.set(name, fields[name].value);
    for (const name of CHECKS) if (fields[name].checked) kept.set(name, "1");
    if (state.group) kept.set("group", state.group.key);
    if (state.chosen) kept.set("response", state.chosen.response.index);
    if (state.view !== "tokens") kept.set("view", state.view);
    if (state.theme !== "auto") kept.set("theme", state.theme);
    history.replaceState(null, "", `#${kept}`);
  }, 200);
}

async function readAddress() {
  const kept = new URLSearchParams(location.hash.slice(1));
  fields.q.value = kept.get("q") ?? "";
  for (const name of SELECTS) {
    fields[name].value = kept.get(name);
    if (fields[name].selectedIndex < 0) fields[name].selectedIndex = 0;
  }
  for (const name of CHECKS) fields[name].checked = kept.has(name);
  setTheme(THEMES.includes(kept.get("theme")) ? kept.get("theme") : "auto");
  setView(kept.get("view") === "summary" ? "summary" : "tokens");
  const wanted = groups.find((group) => group.key === kept.get("group"));
  await applyFilters(wanted);
  if (wanted && state.group === wanted && kept.has("response")) await show(wanted, Number(kept.get("response")));
}

addEventListener("hashchange", readAddress);
addEventListener("keydown", press);
byId("previous").addEventListener("click", () => moveGroup(-1));
byId("next").addEventListener("click", () => moveGroup(1));
byId("view-tokens").addEventListener("click", () => setView("tokens"));
byId("view-summary").addEventListener("click", () => setView("summary"));
byId("theme").addEventListener("click", nextTheme);
byId("find").addEventListener("click", () => setFinding(!document.body.classList.contains("finding")));
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("summary").addEventListener("click", (event) => {
  const { search: text } = event.target.dataset;
  if (text === undefined) return;
  fields.q.value = text;
  setView("tokens");
  applyFilters();
});
readAddress();
