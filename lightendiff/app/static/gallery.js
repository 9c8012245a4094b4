// Several photos, each before and after, as they come; the chosen one is compared above.
const page = (window.lightendiff ??= {});
const list = element.querySelector(".ld-gallery");
let run = null;

function choose(item, button) {
  for (const each of list.querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button));
  page.compare?.batch(item);
}

function card(item) {
  const button = document.createElement("button"), label = document.createElement("span");
  button.type = "button";
  const pictures = [["before", item.before], ["restored", item.after]].map(([what, file]) => {
    const picture = new Image();
    picture.loading = "lazy";
    picture.src = file.url;
    picture.alt = `${item.source}, ${what}`;
    return picture;
  });
  label.textContent = item.name;
  button.append(...pictures, label);
  button.title = `Compare ${item.name}`;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => choose(item, button));
  return button;
}

function change() {
  const { id = null, items = [] } = props.value ?? {};
  if (id !== run) {
    list.replaceChildren();
    page.compare?.batch(null);
  }
  run = id;
  list.hidden = !items.length;
  for (const item of items.slice(list.children.length)) {
    const added = card(item);
    list.append(added);
    if (list.children.length === 1) choose(item, added);
  }
}

watch("value", change);
if (props.value) change();
