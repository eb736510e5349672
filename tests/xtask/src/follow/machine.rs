//! The functions of the core's machine, and what their receivers are.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use syn::{Fields, File, ImplItem, ImplItemFn, Item, ItemImpl, Signature, Type};

use crate::workspace::{self, root};

/// The folder in which all is the machine's.
const HOUSE: &str = "node/";

/// All functions of the machine.
pub(super) struct Machine {
    pub(super) functions: Vec<Function>,
    /// The types of fields, by the type that has them, and of what a variant holds.
    fields: BTreeMap<(String, String), String>,
}

/// One function, or method.
pub(super) struct Function {
    /// Its index in [`Machine::functions`].
    pub(super) id: usize,
    pub(super) file: String,
    pub(super) part: Part,
    /// The type whose method it is.
    pub(super) owner: Option<String>,
    pub(super) signature: Signature,
    pub(super) body: syn::Block,
}

/// What a function is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The node's methods, and functions beside them.
    Node,
    /// Its role, and what is in the variants.
    Role,
    /// A node whose record waits to be stored.
    Unsaved,
}

impl Machine {
    /// Reads all files of a folder of the project.
    pub(super) fn read(folder: &str) -> Result<Self> {
        let folder = root()?.join(folder);
        let mut files = Vec::new();
        for path in workspace::files(&folder)? {
            let text = fs::read_to_string(folder.join(&path))?;
            files.push((path.display().to_string(), text));
        }
        Self::parse(files)
    }

    /// Reads files, each a path and its text.
    pub(super) fn parse(files: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut machine = Self { functions: Vec::new(), fields: BTreeMap::new() };
        for (path, text) in files {
            let file: File = syn::parse_file(&text).with_context(|| path.clone())?;
            let is_in_house = path.starts_with(HOUSE);
            let has_node = file.items.iter().any(|item| match item {
                Item::Impl(item) => type_name(&item.self_ty) == "Node",
                _ => false,
            });
            for item in file.items {
                machine.add_fields(&item);
                machine.add_functions(&path, item, is_in_house, has_node);
            }
        }
        Ok(machine)
    }

    /// The method of a type.
    pub(super) fn method(&self, owner: &str, name: &str) -> Option<&Function> {
        self.named(name).find(|function| function.owner.as_deref() == Some(owner))
    }

    /// All functions of this name.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(move |function| function.signature.ident == name)
    }

    /// What type a field has, or the contents of a variant.
    pub(super) fn field(&self, owner: &str, field: &str) -> Option<&str> {
        self.fields.get(&(owner.to_owned(), field.to_owned())).map(String::as_str)
    }

    fn add_functions(&mut self, file: &str, item: Item, is_in_house: bool, has_node: bool) {
        match item {
            Item::Fn(item) if is_in_house || has_node => {
                self.add_function(file, Part::Node, None, item.sig, *item.block);
            }
            Item::Impl(ItemImpl { self_ty, items, .. }) => {
                let owner = type_name(&self_ty);
                let part = match owner.as_str() {
                    "Node" => Part::Node,
                    "Unsaved" => Part::Unsaved,
                    "Role" => Part::Role,
                    _ if is_in_house => Part::Role,
                    _ => return,
                };
                for item in items {
                    if let ImplItem::Fn(ImplItemFn { sig, block, .. }) = item {
                        self.add_function(file, part, Some(owner.clone()), sig, block);
                    }
                }
            }
            _ => {}
        }
    }

    fn add_function(
        &mut self,
        file: &str,
        part: Part,
        owner: Option<String>,
        signature: Signature,
        body: syn::Block,
    ) {
        let (id, file) = (self.functions.len(), file.to_owned());
        self.functions.push(Function { id, file, part, owner, signature, body });
    }

    fn add_fields(&mut self, item: &Item) {
        match item {
            Item::Struct(item) => {
                let owner = item.ident.to_string();
                for field in &item.fields {
                    let name = field.ident.as_ref().map(ToString::to_string);
                    let name = name.unwrap_or_default();
                    self.fields.insert((owner.clone(), name), type_name(&field.ty));
                }
            }
            Item::Enum(item) => {
                for variant in &item.variants {
                    if let Fields::Unnamed(fields) = &variant.fields
                        && let Some(field) = fields.unnamed.first()
                    {
                        let key = (item.ident.to_string(), variant.ident.to_string());
                        self.fields.insert(key, type_name(&field.ty));
                    }
                }
            }
            _ => {}
        }
    }
}

/// The name of a type without references, paths and parameters; empty if it has none.
pub(super) fn type_name(of: &Type) -> String {
    match of {
        Type::Reference(reference) => type_name(&reference.elem),
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.map(|segment| segment.ident.to_string()).unwrap_or_default()
        }
        _ => String::new(),
    }
}
