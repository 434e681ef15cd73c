// The list without reloading: a form or link fetches its page, and the list is replaced.
//
// With the header X-Part, the server sends the same page without the frame around the list, and
// without what is in the rows that X-Have names. The document gets the events "list:changing"
// before a change is sent, "list:changed" with the document of a good answer, "list:leaving" and
// "list:shown" before and after each replacement, and "list:failed" with a message. A form with
// refused content gets "list:refused", with the document of the answer, and a form of a task that
// is gone gets "list:gone".

const FORMS = "#add, #lines, #search, #list form, #messages form";
const LINKS = "#list .tabs a, #list .pager a, #list .empty a:not([href^='/accounts/'])";
const SEARCH_PAUSE = 200; // milliseconds without typing
const STALE = 1000; // milliseconds after which a list is fetched again when its tab is shown again
const KEPT_ALIVE = 60_000; // bytes; browsers refuse to keep longer requests alive

const list = document.getElementById("list");
const messages = document.getElementById("messages");

let queue = Promise.resolve(); // requests, sent one after the other in their order
let waiting = 0; // changes in the queue
const pressed = new Set(); // the buttons of those changes
let unshown = null; // a good answer that was not shown, because more changes were waiting
let latestVisit = 0;
let place = location.pathname + location.search;
let shown = plain(list);
let kept = list.cloneNode(true); // the list as the server sent it last
let shownAt = performance.now();

addEventListener("popstate", () => {
  if (location.pathname + location.search !== place) visit(location.href, "replace");
});
addEventListener("beforeunload", (event) => waiting > 1 && event.preventDefault());
addEventListener("pageshow", (event) => event.persisted && refresh());
addEventListener("focus", refresh);
addEventListener("online", () => {
  shownAt = -STALE;
  refresh();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches(FORMS)) return;
  event.preventDefault();
  if (form.id === "search") search();
  else change(form, event.submitter);
});

// The second click of a double click may meet the next row, if the first has removed one.
list.addEventListener("click", (event) => {
  if (event.detail > 1 && event.target.closest(".check, .delete")) event.preventDefault();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest(LINKS);
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  visit(link.href, "push").then(() => {
    if (link.rel) list.scrollIntoView();
  });
});

let typing;
document.getElementById("id_q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, SEARCH_PAUSE);
});

document.dispatchEvent(new Event("list:shown"));

// -- requests --------------------------------------------------------------------------------

function search() {
  clearTimeout(typing);
  const fields = new URLSearchParams(new FormData(document.getElementById("search")));
  if (fields.get("show") === "all") fields.delete("show");
  if (!fields.get("q").trim()) fields.delete("q");
  const url = new URL(document.getElementById("search").action);
  url.search = fields;
  visit(url.href, "replace");
}

/** Show the page of the list at an address. `entry` names the change of the browser's history. */
function visit(url, entry) {
  const number = ++latestVisit;
  return enqueue(async () => {
    if (number !== latestVisit) return;
    const answer = await ask(url);
    if (answer.ok) show(answer, entry);
    else fail(answer.status);
  });
}

/** Fetch the shown page again: it may have changed in another tab, or on another device. */
function refresh() {
  if (waiting || document.querySelector(".dragging") || performance.now() - shownAt < STALE) return;
  shownAt = performance.now();
  enqueue(async () => {
    const answer = await ask(location.href).catch(() => ({}));
    if (!answer.ok) return;
    messages.querySelector(".lost")?.remove();
    if (plain(answer.page.getElementById("list")) !== shown) show(answer, "replace");
  });
}

/** Post a form, and show the new list. */
function change(form, button) {
  const url = button?.hasAttribute("formaction") ? button.formAction : form.action;
  const data = new URLSearchParams(new FormData(form, button));
  const adds = form.id === "add";
  // Presses that move a task add up. Of all others, the second while the first is under way, and
  // of an empty form that was just sent, is the same press.
  const press = adds || url.includes("/move/") ? {} : `${url} ${button?.name} ${button?.value}`;
  if (pressed.has(press) || (adds && form.dataset.sent && !data.get("name").trim())) return;
  pressed.add(press);
  waiting++;
  const focus = focused();
  const known = ids();
  document.dispatchEvent(new CustomEvent("list:changing", { detail: { form, button, data } }));
  if (focus) refocus(focus, known);
  enqueue(async () => {
    // An earlier answer may have brought a newer token.
    data.set("csrfmiddlewaretoken", list.querySelector("[name=csrfmiddlewaretoken]").value);
    const answer = await ask(url, data).finally(() => {
      waiting--;
      pressed.delete(press);
    });
    if (!answer.ok && answer.status !== 422) throw answer.status;
    if (answer.ok) document.dispatchEvent(new CustomEvent("list:changed", { detail: answer.page }));
    if (answer.ok && waiting) unshown = answer; // the shown list is nearer to the final one
    else if (answer.ok) show(answer, "push");
    else {
      form.ariaBusy = null;
      restore();
      form.dispatchEvent(new CustomEvent("list:refused", { detail: answer.page, bubbles: true }));
    }
  }, async (status) => {
    form.ariaBusy = null;
    restore();
    let typed = adds ? data.get("name") : "";
    if (typed && !form.elements.name.value) {
      form.elements.name.value = typed;
      form.elements.due.value = data.get("due");
      typed = "";
    }
    await fail(status, typed, form);
    if (status === 404) form.dispatchEvent(new CustomEvent("list:gone", { bubbles: true }));
  });
}

function enqueue(request, failed = fail) {
  queue = queue.then(request).catch((error) => {
    if (typeof error !== "number") console.warn(error);
    return failed(typeof error === "number" ? error : 0);
  });
  return queue;
}

async function ask(url, body) {
  const rows = new Map();
  for (const row of kept.querySelectorAll(".row")) {
    rows.set(`${row.id.replace("task-", "")}.${row.dataset.v}`, row);
  }
  const headers = { "X-Part": "list", "X-Have": [...rows.keys()].join() };
  // A change that is under way is carried out, even if the page is left.
  const keepalive = Boolean(body) && String(body).length < KEPT_ALIVE;
  const options = { headers, method: body ? "POST" : "GET", body, keepalive };
  list.ariaBusy = "true";
  try {
    const response = await (body ? alone(() => fetch(url, options)) : fetch(url, options));
    const text = await response.text();
    const page = new DOMParser().parseFromString(text, "text/html");
    for (const row of page.querySelectorAll(".row:empty")) {
      row.replaceWith(rows.get(`${row.id.replace("task-", "")}.${row.dataset.v}`).cloneNode(true));
    }
    if (response.ok && !page.getElementById("list")) location.assign(response.url);
    return { ok: response.ok, status: response.status, url: response.url, page };
  } finally {
    list.ariaBusy = null;
  }
}

/** The first change of a visitor begins a list: two tabs must not begin one each, as the browser can
 * name only one of them later. Browsers have locks on pages that came by HTTPS, or from this machine. */
function alone(send) {
  const isNew = !document.getElementById("add").elements.viewer.value;
  return isNew && navigator.locks ? navigator.locks.request("list", send) : send();
}

/** Show why there was no answer or why a change was refused, and show the present list. */
async function fail(status, typed = "", form = null) {
  const reasons = {
    0: "No connection: nothing was saved. Try again in a moment.",
    403: "You have logged in or out in another tab: nothing was saved. This is the list now.",
    404: "That task is gone: it was deleted in another tab or on another device.",
    429: "Too many requests. Try again in a moment.",
  };
  if (status) {
    const answer = await ask(location.href).catch(() => ({}));
    if (answer.ok) show(answer, "replace");
  }
  const text = reasons[status] ?? "Something went wrong: nothing was saved. Try again in a moment.";
  const detail = { text, typed, form, lost: !status };
  document.dispatchEvent(new CustomEvent("list:failed", { detail }));
}

// -- the shown page --------------------------------------------------------------------------

function show({ page, url }, entry) {
  const part = page.getElementById("list");
  unshown = null;
  shown = plain(part);
  shownAt = performance.now();
  kept = part.cloneNode(true);
  place = new URL(url).pathname + new URL(url).search;
  replace(part, () => {
    messages.replaceChildren(...page.getElementById("messages").childNodes);
    document.title = page.title;
    surround(page);
    if (place !== location.pathname + location.search) {
      history[`${entry}State`](null, "", place);
    }
  });
}

/** Show the last good answer again, without changes that were shown at once and then refused. */
function restore() {
  if (unshown && !waiting) show(unshown, "push");
  else replace(kept.cloneNode(true), () => {});
}

function replace(part, meanwhile) {
  const focus = focused();
  document.dispatchEvent(new Event("list:leaving"));
  const known = ids();
  const [fold, newFold] = [list, part].map((each) => each.querySelector("#fold"));
  if (fold && newFold) newFold.open ||= fold.open;
  list.replaceChildren(...part.childNodes);
  meanwhile();
  document.dispatchEvent(new Event("list:shown"));
  if (focus) refocus(focus, known);
}

/** Update the frame around the list. */
function surround(page) {
  const add = document.getElementById("add");
  const newAdd = page.getElementById("add");
  add.action = newAdd.action;
  const account = document.getElementById("account");
  const newAccount = page.getElementById("account");
  if (account.textContent !== newAccount.textContent) account.replaceWith(newAccount);
  const [origin, newOrigin] = [document, page].map((each) => each.querySelector(".page-origin"));
  newOrigin.open = origin.open;
  origin.replaceWith(newOrigin);
  const fields = document.getElementById("search").elements;
  const newFields = page.getElementById("search").elements;
  fields.show.value = newFields.show.value;
  if (document.activeElement !== fields.q) fields.q.value = newFields.q.value;
  for (const name of ["csrfmiddlewaretoken", "viewer"]) {
    const { value } = newAdd.elements[name];
    for (const field of document.querySelectorAll(`[name=${name}]`)) field.value = value;
    const inTemplate = document.getElementById("editor").content.querySelector(`[name=${name}]`);
    inTemplate.value = value;
  }
}

/** Return the position of the focus, in a form that is valid for the next list. */
function focused() {
  const element = document.activeElement;
  if (messages.contains(element)) return { undo: true };
  if (!list.contains(element)) return null;
  const row = element.closest(".row");
  const control = ["check", "name", "delete"].find((name) => element.classList.contains(name));
  const tab = [...list.querySelectorAll(".tabs a")].indexOf(element);
  return { row, index: row && [...row.parentNode.children].indexOf(row), control, tab };
}

function refocus({ undo, row, index, control, tab }, known) {
  if (document.activeElement !== document.body) return;
  const rows = [...list.querySelectorAll(".row")].filter((each) => each.checkVisibility());
  let target = list.querySelectorAll(".tabs a")[tab];
  if (undo) target = rows.find((other) => !known.has(other.id))?.querySelector(".name");
  if (row) {
    const next = rows.find(({ id }) => id === row.id) ?? rows[Math.min(index, rows.length - 1)];
    target = next?.querySelector(`.${control ?? "name"}`);
  }
  (target ?? list).focus({ preventScroll: !target });
}

function ids() {
  return new Set([...list.querySelectorAll(".row")].map((row) => row.id));
}

function plain(part) {
  return part.innerHTML.replaceAll(/name="csrfmiddlewaretoken" value="\w+"/g, "");
}
