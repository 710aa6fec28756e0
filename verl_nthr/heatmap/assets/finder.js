const ROW_HEIGHT = 52;
const ROWS_BEYOND = 6;

const GROUP_FILTERS = {
  all: () => true,
  mixed: (group) => group.mixed,
  correct: (group) => group.correct === group.responses.length,
  wrong: (group) => group.correct === 0,
};
const ORDERS = {
  dumped: () => 0,
  eased: (a, b) => b.eased - a.eased,
  hard: (a, b) => a.rate - b.rate,
  easy: (a, b) => b.rate - a.rate,
};

const list = byId("list");
let turn = 0;

/** Apply the filters; keeps the group wanted, or takes the first that passes. */
async function applyFilters(wanted = state.group) {
  const mine = ++turn;
  list.ariaBusy = true;
  const query = pattern(fields.q.value);
  const columns = new Map();
  if (query) for (const step of data.steps) columns.set(step, await columnsOf(step));
  if (mine !== turn) return;
  state.query = query;
  const { step, groups: kind, order } = fields;
  const shown = groups.filter(
    (group) =>
      (step.value === "all" || group.step.step === Number(step.value)) &&
      GROUP_FILTERS[kind.value](group) &&
      passing(group).length > 0 &&
      (!query || found(group, query, columns.get(group.step))),
  );
  state.shown = shown.sort(ORDERS[order.value]);
  const responses = shown.reduce((sum, group) => sum + passing(group).length, 0);
  byId("count").textContent =
    `${grouped(shown.length)} of ${counted(groups.length, "group")}, ${counted(responses, "response")}`;
  await show(shown.includes(wanted) ? wanted : (shown[0] ?? null));
  if (mine === turn) list.ariaBusy = false;
}

/** A search for the text as it is shown, in any case. */
function pattern(query) {
  const escaped = query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("↵", "\\n");
  return query ? new RegExp(escaped, "giu") : null;
}

/** The responses of a group that pass the filters. */
function passing(group) {
  const { responses, eased } = fields;
  return group.responses.filter(
    (response) =>
      (responses.value === "all" || response.correct === (responses.value === "correct")) &&
      (!eased.checked || response.eased > 0),
  );
}

function found(group, query, columns) {
  const hit = (text) => text.search(query) >= 0;
  const hitIn = (response) => hit(textOf(response, columns)) || hit(response.text ?? "");
  return hit(group.prompt) || hit(group.uid) || passing(group).some(hitIn);
}

/** Draw the rows of the list that are in view, and a few beyond; no others exist. */
function drawRows() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - ROWS_BEYOND);
  const last = Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + ROWS_BEYOND;
  const rows = state.shown.slice(first, last).map((group, i) => makeRow(group, first + i));
  byId("rows").style.height = `${state.shown.length * ROW_HEIGHT}px`;
  byId("rows").replaceChildren(...rows);
  const selected = rows.find((row) => row.ariaSelected === "true");
  list.setAttribute("aria-activedescendant", selected?.id ?? "");
}

function makeRow(group, index) {
  const row = make("div", "row");
  row.id = `row-${index}`;
  row.dataset.index = index;
  row.style.top = `${index * ROW_HEIGHT}px`;
  row.role = "option";
  row.ariaSelected = group === state.group;
  row.ariaSetSize = state.shown.length;
  row.ariaPosInSet = index + 1;
  const facts = make("span");
  const rate = make("i");
  rate.style.setProperty("--rate", `${100 * group.rate}%`);
  facts.append(`step ${group.step.step}`, rate, `${group.correct}/${group.responses.length} correct`);
  if (group.eased) facts.append(make("em", "", `${grouped(group.eased)} eased`));
  row.append(make("b", "", group.label || "∅"), facts);
  return row;
}

/** Scroll the list so that the group that is looked at is in view. */
function revealRow() {
  const top = state.shown.indexOf(state.group) * ROW_HEIGHT;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW_HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_HEIGHT - list.clientHeight;
  drawRows();
}

let searchTimer = 0;
filters.addEventListener("input", () => {
  list.ariaBusy = true;
  clearTimeout(searchTimer);
  searchTimer = setTimeout(applyFilters, 120);
});
filters.addEventListener("submit", (event) => event.preventDefault());
list.addEventListener("scroll", () => requestAnimationFrame(drawRows));
list.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (!row) return;
  setFinding(false);
  show(state.shown[row.dataset.index]);
});
addEventListener("resize", drawRows);
