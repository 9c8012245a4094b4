// Exposures to choose from, side by side.
const page = (window.lightendiff ??= {});
let marked = null;

function mark() {
  for (const button of element.querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(Number(button.dataset.stops) === marked));
}

function change() {
  const list = element.querySelector(".ld-choices"), items = props.value ?? [];
  list.hidden = !items.length;
  list.replaceChildren(...items.map(({ stops, image }) => {
    const button = document.createElement("button"), picture = new Image(), label = document.createElement("span");
    const name = `${stops > 0 ? "+" : stops < 0 ? "−" : ""}${Math.abs(stops)}`;
    button.type = "button";
    button.dataset.stops = stops;
    button.title = `Exposure ${name}`;
    picture.src = image.url;
    picture.alt = `Restored at exposure ${name}`;
    label.textContent = name;
    label.ariaHidden = "true";
    button.append(picture, label);
    button.addEventListener("click", () => trigger("pick", { stops }));
    return button;
  }));
  mark();
}

page.marks = (settings) => {
  marked = Number(settings?.[1] ?? 0);
  mark();
};
page.marks(null);
watch("value", change);
if (props.value) change();
