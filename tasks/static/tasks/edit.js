// Editing in place: the form of the page that changes a task, in the task's row.

const list = document.getElementById("list");
const template = document.getElementById("editor");
let kept = []; // open forms, while the list is replaced

list.addEventListener("click", (event) => {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const row = event.target.closest(".row");
  if (event.target.closest(".name")) open(row);
  else if (event.target.closest(".cancel")) close(row);
  else return;
  event.preventDefault();
});

list.addEventListener("keydown", (event) => {
  const row = event.target.closest(".row");
  if (!row) return;
  if (event.key === "F2" && !row.querySelector(".editor")) open(row);
  else if (event.key === "Escape" && row.querySelector(".editor")) close(row);
  else return;
  event.preventDefault();
});

function open(row) {
  const link = row.querySelector(".name");
  const form = own(template.content.cloneNode(true).querySelector("form"), row);
  form.action = link.href;
  for (const step of form.querySelectorAll("[name=step]")) {
    step.formAction = link.href.replace("/edit/", "/move/");
  }
  if (row.closest(".by-due")) form.querySelector(".steps")?.remove();
  form.elements.name.value = link.firstChild.data;
  form.elements.due.value = row.querySelector(".due")?.dateTime ?? "";
  put(form, row);
  form.elements.name.select();
}

function close(row) {
  row.querySelector(".editor").remove();
  row.classList.remove("editing");
  if (row.classList.contains("gone")) row.remove();
  else row.querySelector(".name").focus();
}

function put(form, row) {
  row.classList.add("editing");
  row.append(form);
}

/** Make a form's ids unique: there may be several forms. */
function own(form, row) {
  for (const name of ["id", "for", "aria-describedby"]) {
    for (const element of form.querySelectorAll(`[${name}]`)) {
      element.setAttribute(name, `${element.getAttribute(name)}-${row.id}`);
    }
  }
  return form;
}

document.addEventListener("list:refused", (event) => {
  const form = event.target;
  if (!form.matches(".editor")) return;
  const refused = event.detail.querySelector(".editor");
  if (!refused) {
    // Sent to be added as new.
    form.ariaBusy = null;
    const errors = event.detail.querySelector("#add .errorlist");
    form.querySelector(".error").textContent = errors.textContent.trim();
    return;
  }
  const fresh = own(refused, form.closest(".row"));
  form.replaceWith(fresh);
  fresh.querySelector("[aria-invalid]")?.focus();
});

document.addEventListener("list:gone", (event) => {
  const form = event.target;
  if (!form.matches("#list .editor") || form.querySelector(".error")) return;
  form.action = document.getElementById("add").action;
  form.querySelector(".steps")?.remove();
  form.querySelector("button").textContent = "Add as new";
  const note = document.createElement("p");
  Object.assign(note, { className: "error", textContent: "Deleted elsewhere. Your text is here." });
  form.prepend(note);
});

document.addEventListener("list:leaving", () => {
  kept = [...list.querySelectorAll(".editor")]
    .filter((form) => !form.ariaBusy)
    .map((form) => {
      const active = form.contains(document.activeElement) ? document.activeElement : null;
      return { form, row: form.closest(".row"), active };
    });
});

document.addEventListener("list:shown", () => {
  for (const { form, row, active } of kept) {
    put(form, document.getElementById(row.id) ?? gone(row));
    active?.focus();
  }
  kept = [];
});

/** Keep the open form of a task that is no longer on the page. */
function gone(row) {
  row.classList.add("gone");
  list.prepend(row);
  return row;
}
