// The list without reloading: a form or link fetches its page, and the list is replaced.
//
// With the header X-Part, the server sends the same page without the frame around the list. Before
// and after each replacement the document gets the events "list:leaving" and "list:shown". A form
// with refused content gets "list:refused", with the document of the answer.

const FORMS = "#add, #search, #list form, #messages form";
const LINKS = "#list .tabs a, #list .pager a, #list .empty a:not([href^='/accounts/'])";
const SEARCH_PAUSE = 200; // milliseconds without typing
const MESSAGE_TIME = 8000; // milliseconds
const STALE = 1000; // milliseconds after which a list is fetched again when its tab is shown again

const list = document.getElementById("list");
const messages = document.getElementById("messages");

let queue = Promise.resolve(); // requests, sent one after the other in their order
let waiting = 0; // changes in the queue
let latestVisit = 0;
let place = location.pathname + location.search;
let shown = plain(list);
let shownAt = performance.now();
let messageTimer;

addEventListener("popstate", () => {
  if (location.pathname + location.search !== place) visit(location.href, "none");
});
addEventListener("pageshow", (event) => event.persisted && refresh());
addEventListener("focus", refresh);
document.addEventListener("visibilitychange", () => document.hidden || refresh());

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches(FORMS)) return;
  event.preventDefault();
  if (form.id === "search") search();
  else change(form, event.submitter);
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

notice();
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
    if (answer.ok && plain(answer.page.getElementById("list")) !== shown) show(answer, "none");
  });
}

/** Post a form, and show the new list. */
function change(form, button) {
  const url = button?.hasAttribute("formaction") ? button.formAction : form.action;
  const data = new URLSearchParams(new FormData(form, button));
  const row = form.id === "act" ? button.closest(".row") : null;
  const undoes = button?.matches(".check") ? () => row.classList.toggle("done") : () => {};
  undoes(); // at once, without waiting for the server
  const adds = form.id === "add";
  if (adds && data.get("name").trim()) form.reset();
  if (url === form.action) form.ariaBusy = "true";
  waiting++;
  return enqueue(async () => {
    // An earlier answer may have brought a newer token.
    data.set("csrfmiddlewaretoken", list.querySelector("[name=csrfmiddlewaretoken]").value);
    const answer = await ask(url, data).finally(() => waiting--);
    if (answer.ok) {
      // If more changes are waiting, the shown list is nearer to the final one.
      if (!waiting) show(answer, "push");
    } else if (answer.status === 422) {
      form.dispatchEvent(new CustomEvent("list:refused", { detail: answer.page, bubbles: true }));
    } else {
      throw answer.status;
    }
  }, (status) => {
    form.ariaBusy = null;
    undoes();
    let typed = adds ? data.get("name") : "";
    if (typed && !form.elements.name.value) {
      form.elements.name.value = typed;
      form.elements.due.value = data.get("due");
      typed = "";
    }
    fail(status, typed);
  });
}

function enqueue(request, failed = fail) {
  queue = queue.then(request).catch((error) => {
    if (typeof error !== "number") console.warn(error);
    failed(typeof error === "number" ? error : 0);
  });
  return queue;
}

async function ask(url, body) {
  const options = { headers: { "X-Part": "list" }, method: body ? "POST" : "GET", body };
  list.ariaBusy = "true";
  try {
    const response = await fetch(url, options);
    const text = await response.text();
    const page = new DOMParser().parseFromString(text, "text/html");
    if (response.ok && !page.getElementById("list")) location.assign(response.url);
    return { ok: response.ok, status: response.status, url: response.url, page };
  } finally {
    list.ariaBusy = null;
  }
}

/** Show why there was no answer or why a change was refused, and show the present list. */
async function fail(status, typed = "") {
  const reasons = {
    0: "No connection: nothing was saved. Try again in a moment.",
    403: "You have logged in or out in another tab. Please try again.",
    404: "That task is gone: it was deleted in another tab or on another device.",
    429: "Too many requests. Try again in a moment.",
  };
  if (status) {
    const answer = await ask(location.href).catch(() => ({}));
    if (answer.ok) show(answer, "none");
  }
  say(reasons[status] ?? "Something went wrong: nothing was saved. Try again in a moment.", typed);
}

// -- the shown page --------------------------------------------------------------------------

function show({ page, url }, entry) {
  const focus = focused();
  document.dispatchEvent(new Event("list:leaving"));
  const known = new Set([...list.querySelectorAll(".row")].map((row) => row.id));
  const part = page.getElementById("list");
  shown = plain(part);
  shownAt = performance.now();
  list.replaceChildren(...part.childNodes);
  messages.replaceChildren(...page.getElementById("messages").childNodes);
  document.title = page.title;
  surround(page);

  place = new URL(url).pathname + new URL(url).search;
  if (entry !== "none" && place !== location.pathname + location.search) {
    history[`${entry}State`](null, "", place);
  }
  document.dispatchEvent(new Event("list:shown"));
  if (focus) refocus(focus, known);
  notice();
}

/** Update the frame around the list. */
function surround(page) {
  const token = page.querySelector("[name=csrfmiddlewaretoken]").value;
  const account = document.getElementById("account");
  const newAccount = page.getElementById("account");
  if (account.textContent !== newAccount.textContent) account.replaceWith(newAccount);
  const add = document.getElementById("add");
  add.ariaBusy = null;
  if (add.querySelector(".errorlist")) replaceAdd(page);
  else add.action = page.getElementById("add").action;
  const fields = document.getElementById("search").elements;
  const newFields = page.getElementById("search").elements;
  fields.show.value = newFields.show.value;
  if (document.activeElement !== fields.q) fields.q.value = newFields.q.value;
  for (const field of document.querySelectorAll("[name=csrfmiddlewaretoken]")) field.value = token;
}

document.addEventListener("list:refused", (event) => {
  if (event.target.id === "add") replaceAdd(event.detail).elements.name.focus();
});

function replaceAdd(page) {
  const add = document.getElementById("add");
  const inside = add.contains(document.activeElement) && document.activeElement.name;
  const fresh = page.getElementById("add");
  add.replaceWith(fresh);
  if (inside) fresh.elements[inside].focus();
  return fresh;
}

function say(text, typed) {
  const message = document.createElement("div");
  message.className = "message error";
  message.append(Object.assign(document.createElement("p"), { textContent: text }));
  if (typed) {
    message.append(Object.assign(document.createElement("p"), { textContent: `Not added: ${typed}` }));
  }
  messages.replaceChildren(message);
  clearTimeout(messageTimer);
}

/** Remove a message after some time, unless it has a button or reports an error. */
function notice() {
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => {
    if (!messages.querySelector("form, .error, .warning")) messages.replaceChildren();
  }, MESSAGE_TIME);
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
  const rows = [...list.querySelectorAll(".row")];
  let target = list.querySelectorAll(".tabs a")[tab];
  if (undo) target = rows.find((other) => !known.has(other.id))?.querySelector(".name");
  if (row) {
    const next = rows.find(({ id }) => id === row.id) ?? rows[Math.min(index, rows.length - 1)];
    target = next?.querySelector(`.${control ?? "name"}`);
  }
  (target ?? list).focus({ preventScroll: !target });
}

function plain(part) {
  return part.innerHTML.replaceAll(/name="csrfmiddlewaretoken" value="\w+"/g, "");
}
