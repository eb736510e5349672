//! Which functions of the machine a function calls.
//!
//! There is no type checker here. A receiver's type is known if it is `self`, a field, a parameter
//! or the contents of a variant; a method of anything else is the machine's if the machine has
//! exactly one of that name.

use std::collections::BTreeMap;

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Arm, Expr, ExprMatch, ExprMethodCall, FnArg, Macro, Member, Pat, PatTupleStruct, PatType, Path,
    Token,
};

use super::machine::{Function, Machine, type_name};

/// The type whose variants are the kinds of messages.
const MESSAGE: &str = "Message";

/// The functions that one calls, once for each call.
pub(super) fn calls<'m>(machine: &'m Machine, caller: &Function) -> Vec<&'m Function> {
    let mut search = Search::new(machine, caller);
    search.visit_block(&caller.body);
    search.found
}

/// The functions that are called where the kinds of messages part, for a message of this kind.
pub(super) fn handlers<'m>(machine: &'m Machine, kind: &str, kinds: &[&str]) -> Vec<&'m Function> {
    let mut found = Vec::new();
    for function in &machine.functions {
        let mut parting = Parting { kinds, arms: Vec::new() };
        parting.visit_block(&function.body);
        for arm in parting.arms.into_iter().filter(|arm| is_of_kind(&arm.pat, kind)) {
            let mut search = Search::new(machine, function);
            search.visit_expr(&arm.body);
            found.extend(search.found);
        }
    }
    found
}

/// Finds a `match` that knows all kinds of messages.
struct Parting<'k, 'ast> {
    kinds: &'k [&'k str],
    /// Its arms.
    arms: Vec<&'ast Arm>,
}

impl<'ast> Visit<'ast> for Parting<'_, 'ast> {
    fn visit_expr_match(&mut self, choice: &'ast ExprMatch) {
        let is_known = |kind: &&str| choice.arms.iter().any(|arm| is_of_kind(&arm.pat, kind));
        if self.kinds.iter().all(is_known) {
            self.arms.extend(&choice.arms);
        }
        visit::visit_expr_match(self, choice);
    }
}

fn is_of_kind(pattern: &Pat, kind: &str) -> bool {
    match pattern {
        Pat::Or(alternatives) => alternatives.cases.iter().any(|case| is_of_kind(case, kind)),
        Pat::TupleStruct(PatTupleStruct { path, .. }) => {
            path.segments.iter().map(|segment| &segment.ident).eq([MESSAGE, kind])
        }
        _ => false,
    }
}

struct Search<'m, 'c> {
    machine: &'m Machine,
    /// The type that `Self` is.
    owner: Option<&'c str>,
    /// What is known of variables.
    types: BTreeMap<String, String>,
    found: Vec<&'m Function>,
}

impl<'m, 'c> Search<'m, 'c> {
    fn new(machine: &'m Machine, caller: &'c Function) -> Self {
        let owner = caller.owner.as_deref();
        let mut search = Self { machine, owner, types: BTreeMap::new(), found: Vec::new() };
        for argument in &caller.signature.inputs {
            if let FnArg::Typed(argument) = argument {
                search.visit_pat_type(argument);
            }
        }
        search
    }

    /// The name of the type that an expression has, if that shows.
    fn type_of(&self, expression: &Expr) -> Option<String> {
        match expression {
            Expr::Path(path) if path.path.is_ident("self") => self.owner.map(str::to_owned),
            Expr::Path(path) => self.types.get(&path.path.get_ident()?.to_string()).cloned(),
            Expr::Field(field) => {
                let Member::Named(name) = &field.member else { return None };
                let owner = self.type_of(&field.base)?;
                self.machine.field(&owner, &name.to_string()).map(str::to_owned)
            }
            Expr::Reference(reference) => self.type_of(&reference.expr),
            Expr::Paren(inner) => self.type_of(&inner.expr),
            _ => None,
        }
    }

    fn add(&mut self, owner: Option<&str>, name: &str) {
        let mut candidates = self.machine.named(name);
        let callee = match owner {
            Some(owner) => self.machine.method(owner, name),
            None => candidates.next().filter(|_| candidates.next().is_none()),
        };
        self.found.extend(callee);
    }

    /// The type before the last name of a path, with `Self` by its own name.
    fn owner_in<'p>(&'p self, path: &'p Path) -> Option<String> {
        let owner = path.segments.iter().rev().nth(1)?.ident.to_string();
        if owner == "Self" { self.owner.map(str::to_owned) } else { Some(owner) }
    }
}

impl<'ast> Visit<'ast> for Search<'_, '_> {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let owner = self.type_of(&call.receiver);
        self.add(owner.as_deref(), &call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    /// Functions are called by their paths, or handed on by them.
    fn visit_path(&mut self, path: &'ast Path) {
        if let Some(last) = path.segments.last() {
            let name = last.ident.to_string();
            match self.owner_in(path) {
                Some(owner) => self.add(Some(&owner), &name),
                // A variable of the same name isn't the method.
                None => {
                    let mut named = self.machine.named(&name);
                    let callee = named.find(|function| function.owner.is_none());
                    self.found.extend(callee);
                }
            }
        }
        visit::visit_path(self, path);
    }

    fn visit_pat_type(&mut self, typed: &'ast PatType) {
        if let Pat::Ident(variable) = &*typed.pat {
            self.types.insert(variable.ident.to_string(), type_name(&typed.ty));
        }
        visit::visit_pat_type(self, typed);
    }

    fn visit_pat_tuple_struct(&mut self, pattern: &'ast PatTupleStruct) {
        if let Some(owner) = self.owner_in(&pattern.path)
            && let Some(variant) = pattern.path.segments.last()
            && let Some(contents) = self.machine.field(&owner, &variant.ident.to_string())
            && let Some(Pat::Ident(variable)) = pattern.elems.first()
        {
            let contents = contents.to_owned();
            self.types.insert(variable.ident.to_string(), contents);
        }
        visit::visit_pat_tuple_struct(self, pattern);
    }

    /// What `matches!` and `assert!` are given are expressions, as far as they can be read.
    fn visit_macro(&mut self, macro_call: &'ast Macro) {
        let arguments = macro_call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
        // A macro lives no longer than this call, so that nothing may be kept of it but names.
        for argument in arguments.into_iter().flatten() {
            let mut inner = Search {
                machine: self.machine,
                owner: self.owner,
                types: self.types.clone(),
                found: Vec::new(),
            };
            inner.visit_expr(&argument);
            self.found.append(&mut inner.found);
        }
    }
}
