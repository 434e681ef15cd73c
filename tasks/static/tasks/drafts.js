// What is typed and not sent outlives the page: it is kept in this tab, for its viewer alone.

const KEY = "drafts";

restore();
for (const type of ["input", "pagehide", "visibilitychange", "list:shown"]) {
  addEventListener(type, keep);
}

function keep() {
  const add = document.getElementById("add");
  const editors = [...document.querySelectorAll("#list .editor:not([aria-busy])")];
  const drafts = {
    viewer: add.elements.viewer.value,
    isVisitor: isVisitor(),
    add: typed(add),
    editors: editors.map((form) => ({ row: form.closest(".row").id, ...typed(form) })),
  };
  const isEmpty = !drafts.add.name && !drafts.add.due && !editors.length;
  try {
    if (isEmpty) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, JSON.stringify(drafts));
  } catch {} // a browser that stores nothing
}

function restore() {
  let drafts;
  try {
    drafts = JSON.parse(sessionStorage.getItem(KEY));
  } catch {}
  const add = document.getElementById("add");
  // The drafts of a visitor come along at log-in, as the tasks do.
  const mine = drafts?.viewer === add.elements.viewer.value || (drafts?.isVisitor && !isVisitor());
  if (!mine) return;
  if (!add.elements.name.value) fill(add, drafts.add);
  for (const { row, ...fields } of drafts.editors) {
    const link = document.getElementById(row)?.querySelector(".name");
    link?.click();
    const form = document.getElementById(row)?.querySelector(".editor");
    if (form) fill(form, fields);
  }
}

function isVisitor() {
  return !document.querySelector("#account .user");
}

function typed(form) {
  return { name: form.elements.name.value, due: form.elements.due.value };
}

function fill(form, fields) {
  form.elements.name.value = fields.name;
  form.elements.due.value = fields.due;
  form.elements.due.dispatchEvent(new Event("input", { bubbles: true }));
}
